"""Attacks on a server, several at once, each from an address of its own, and an honest client."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from support.attacks import ATTACKS, Target
from support.witness import Witness

__all__ = ["Outcome", "besiege"]

#: Attacks at once.
AT_ONCE = 8
#: Seconds of one look of the honest client.
LOOK = 0.5


@dataclass
class Outcome:
    """What came of one attack."""

    error: str = ""
    begun: float = 0.0
    ended: float = 0.0
    #: What the honest client saw in the looks that the attack touched.
    looks: list[dict[str, Any]] = field(default_factory=list)
    #: What the server wrote to its log meanwhile.
    log: str = ""


def besiege(names: list[str], target: Target, witness: Witness) -> dict[str, Outcome]:
    """Perform attacks and return what came of each.

    Args:
        names: of the attacks.
        target: the server; its address and owner are replaced by those of each attack.
        witness: the honest client.
    """
    looks: list[tuple[float, float, dict[str, Any]]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            begun = time.monotonic()
            witness.begin(LOOK)
            seen = witness.end()
            looks.append((begun, time.monotonic(), seen))

    looking = threading.Thread(target=look, name="witness")
    looking.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            targets = [_own(target, number, name) for number, name in enumerate(names)]
            outcomes = dict(zip(names, pool.map(_attack, names, targets), strict=True))
    finally:
        done.set()
        looking.join()
    for outcome in outcomes.values():
        outcome.looks = [
            seen
            for begun, ended, seen in looks
            if begun <= outcome.ended and outcome.begun <= ended
        ]
    return outcomes


def _own(target: Target, number: int, name: str) -> Target:
    address = f"127.1.{number // 200}.{1 + number % 200}"
    return replace(target, address=address, own=f"intruder-{name}")


def _attack(name: str, target: Target) -> Outcome:
    outcome, before = Outcome(begun=time.monotonic()), len(target.log())
    try:
        ATTACKS[name](target)
    except Exception:  # noqa: BLE001 - the test of the attack reports it
        outcome.error = traceback.format_exc()
    outcome.ended = time.monotonic()
    outcome.log = target.log()[before:]
    return outcome
