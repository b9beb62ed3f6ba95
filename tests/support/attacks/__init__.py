"""What hostile clients do. Each attack asserts that it got a clean refusal, or was hung up on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge import Bridge
from support.raw import Raw

__all__ = ["ATTACKS", "LIMITS", "Target", "attack"]

#: Of the server under attack: lower than the defaults, so that it takes less to run into them.
LIMITS = {
    "TASKBRIDGE_CONNECT_TIMEOUT": "1.5",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_ADDRESS": "60",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": "10",
    "TASKBRIDGE_MAX_WATCHED": "20",
    "TASKBRIDGE_ENQUEUES_PER_MINUTE": "5",
    "TASKBRIDGE_SLOW_AFTER": "2",
}


@dataclass
class Target:
    """The server under attack, and the victim beside the attacker.

    ``job`` is the victim's; attacks come from another address than honest clients.
    """

    bridge: Bridge
    host: str
    port: int
    job: str
    owner: str = "victim"
    address: str = "127.0.0.2"
    log: Callable[[], str] = field(default=lambda: "")

    def raw(self, **options: Any) -> Raw:
        """Return a connection to it."""
        return Raw(self.host, self.port, **{"address": self.address, **options})

    def intruder(self, **claims: Any) -> Raw:
        """Return a connection of somebody who may do everything, with jobs of its own."""
        raw = self.raw().open()
        claims = {"owner": "intruder", "scope": "watch cancel enqueue", **claims}
        if not (answer := raw.connect(self.bridge.token(**claims))).startswith("40/jobs,{"):
            raw.close()
            raise ConnectionError(f"the server does not let it in: {answer}")
        return raw


ATTACKS: dict[str, Callable[[Target], None]] = {}


def attack(function: Callable[[Target], None]) -> Callable[[Target], None]:
    """Register an attack by its name."""
    ATTACKS[function.__name__] = function
    return function


from support.attacks import floods, frames, http, packets, requests, tokens  # noqa: E402, F401
