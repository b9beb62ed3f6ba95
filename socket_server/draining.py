"""Draining: disconnects the clients of a server that stops, spread over some seconds."""

from __future__ import annotations

import random
import time

from bridge.protocol.event import NAMESPACE
from bridge.untyped import SocketIOServer

__all__ = ["Draining"]

#: Seconds between two checks of ``Draining.hurry``.
TICK = 0.05
#: Seconds to wait for open sessions after the last client was disconnected.
GOODBYE = 1.0


class Draining:
    """Spreads the reconnects of a server's clients, which would reach other servers all at once.

    A client is served until its connection is ended as by a broken link, after which every
    Socket.IO client reconnects by itself.

    Args:
        sio: the Socket.IO server.
        spread: seconds over which clients are disconnected.
    """

    def __init__(self, sio: SocketIOServer, spread: float) -> None:
        self._sio, self._spread = sio, spread
        #: Set to True to disconnect the remaining clients at once.
        self.hurry = False

    def run(self) -> int:
        """Announce to each client when it is disconnected, do so, and return their number."""
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
            # Without Engine.IO's CLOSE packet, after which python-socketio's client stays away.
            one.close(wait=False, abort=True)

    def _wait(self, deadline: float, *, until_empty: bool = False) -> None:
        while (left := deadline - time.monotonic()) > 0 and not self.hurry:
            if until_empty and not self._sio.eio.sockets:
                return
            self._sio.sleep(min(left, TICK))
