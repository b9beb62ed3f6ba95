"""Sending clients away before a server stops, each at its own time."""

from __future__ import annotations

import random
import time
from typing import Any

from bridge.protocol.event import NAMESPACE

__all__ = ["Draining"]

#: Seconds between two looks at whether somebody is in a hurry.
TICK = 0.05
#: Seconds after the last client was sent away that goodbyes may take.
GOODBYE = 1.0


class Draining:
    """Spreads the return of a server's clients, who all go to the others at once else.

    As long as a client is here it gets what it asked for. Its connection then ends as by a broken
    link, after which every client of Socket.IO comes back by itself.

    Args:
        sio: the server.
        spread: seconds over which clients are sent away.
    """

    def __init__(self, sio: Any, spread: float) -> None:
        self._sio, self._spread = sio, spread
        #: Set to send all away that are left.
        self.hurry = False

    def run(self) -> int:
        """Tell clients when they have to go, and send them away; return how many there were."""
        begun = time.monotonic()
        leaving = sorted((random.uniform(0, self._spread), one) for one in self._sio.eio.sockets)
        for after, client in leaving:
            self._tell(client, after)
        for after, client in leaving:
            self._wait(begun + after)
            self._send_away(client)
        self._wait(time.monotonic() + GOODBYE, until_empty=True)
        return len(leaving)

    def _tell(self, client: str, after: float) -> None:
        sid = self._sio.manager.sid_from_eio_sid(client, NAMESPACE)
        if sid is not None:
            told = {"after": round(after, 3)}
            self._sio.emit("draining", told, to=sid, namespace=NAMESPACE, ignore_queue=True)

    def _send_away(self, client: str) -> None:
        if (one := self._sio.eio.sockets.get(client)) is not None:
            # Without Engine.IO's goodbye, which Python's client takes for final.
            one.close(wait=False, abort=True)

    def _wait(self, deadline: float, *, until_empty: bool = False) -> None:
        while (left := deadline - time.monotonic()) > 0 and not self.hurry:
            if until_empty and not self._sio.eio.sockets:
                return
            self._sio.sleep(min(left, TICK))
