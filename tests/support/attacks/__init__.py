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
    "TASKBRIDGE_MAX_CONNECTIONS_PER_ADDRESS": "40",
    "TASKBRIDGE_TOKEN_LEEWAY": "0.1",
    "TASKBRIDGE_TRANSPORTS": "websocket,polling",
    "TASKBRIDGE_CONNECTS_PER_SECOND": "50",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": "10",
    "TASKBRIDGE_MAX_WATCHED": "20",
    "TASKBRIDGE_ENQUEUES_PER_MINUTE": "5",
    "TASKBRIDGE_SLOW_AFTER": "2",
}


@dataclass
class Target:
    """The server under attack, and the victim beside the attacker.

    ``job`` is the victim's; attacks come from another address than honest clients, and with
    tokens of another owner, ``own``.
    """

    bridge: Bridge
    host: str
    port: int
    job: str
    owner: str = "victim"
    own: str = "intruder"
    address: str = "127.0.0.2"
    log: Callable[[], str] = field(default=lambda: "")

    def raw(self, **options: Any) -> Raw:
        """Return a connection to it."""
        return Raw(self.host, self.port, **{"address": self.address, **options})

    def intruder(self, **claims: Any) -> Raw:
        """Return a connection of somebody who may do everything, with jobs of its own."""
        raw = self.raw().open()
        claims = {"owner": self.own, "scope": "watch cancel enqueue", **claims}
        if not (answer := raw.connect(self.bridge.token(**claims))).startswith("40/jobs,{"):
            raw.close()
            raise ConnectionError(f"the server does not let it in: {answer}")
        return raw


ATTACKS: dict[str, Callable[[Target], None]] = {}


def attack(function: Callable[[Target], None]) -> Callable[[Target], None]:
    """Register an attack by its name."""
    ATTACKS[function.__name__] = function
    return function


from support.attacks import (  # noqa: E402
    abuse,  # noqa: F401
    api,  # noqa: F401
    floods,  # noqa: F401
    frames,  # noqa: F401
    http,  # noqa: F401
    packets,  # noqa: F401
    polling,  # noqa: F401
    proxies,  # noqa: F401
    requests,  # noqa: F401
    smuggling,  # noqa: F401
    tokens,  # noqa: F401
)
