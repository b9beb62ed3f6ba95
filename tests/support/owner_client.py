"""A client that sees all jobs of one owner, as the page does: plain Socket.IO, and snapshots."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import socketio

from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE, TERMINAL, Event
from bridge.protocol.snapshot import Snapshot
from support.stack import Stack
from support.wait import until

__all__ = ["OwnerClient"]


class OwnerClient:
    """Folds the events of all jobs of an owner.

    Args:
        stack: whose server it connects to.
        owner: whose jobs.
    """

    def __init__(self, stack: Stack, owner: str) -> None:
        #: Snapshot of each job, by id.
        self.jobs: dict[str, Snapshot] = {}
        #: Ends that were told of each job, in order.
        self.ends: dict[str, list[Event]] = {}
        self._lock, self._listening = threading.Lock(), False
        # It connects again by itself: the library gives up where a server that starts refuses it.
        self._client = SocketClient(reconnection=False)
        self._stack, self._token = stack, stack.token(owner=owner, scope="watch", ttl=3600)
        self._closed = threading.Event()
        self._client.on("job", self._take, namespace=NAMESPACE)
        self._client.on("connect", self._connected, namespace=NAMESPACE)
        self._thread = threading.Thread(target=self._stay_connected, daemon=True)
        self._thread.start()
        until(lambda: self._listening, 30, "the owner's jobs to be listed")

    def _stay_connected(self) -> None:
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"]}
        while not self._closed.wait(0.2):
            # A connection that ended while it was made leaves its namespaces behind.
            if not (self._client.connected and NAMESPACE in self._client.namespaces):
                with suppress(socketio.exceptions.SocketIOError, ValueError):
                    self._client.disconnect()
                    self._client.connect(self._stack.url, auth={"token": self._token}, **options)

    def _connected(self) -> None:
        """Ask for all jobs: at the beginning, and again after each cut."""
        self._ask(None)

    def _ask(self, page: str | None) -> None:
        request = {"limit": 200, **({"next": page} if page else {})}
        self._client.emit("jobs", request, namespace=NAMESPACE, callback=self._list)

    def _list(self, answer: dict[str, Any]) -> None:
        assert answer["ok"], answer
        with self._lock:
            for data in answer["jobs"]:
                self.jobs[data["job"]] = Snapshot.decode(data)
        self._listening = True
        if answer.get("next"):
            self._ask(answer["next"])

    def _take(self, message: dict[str, Any]) -> None:
        event = Event.decode(message)
        with self._lock:
            snapshot = self.jobs.setdefault(event.job, Snapshot(event.job))
            before = snapshot.state
            if snapshot.apply(event) and snapshot.state in TERMINAL and before not in TERMINAL:
                self.ends.setdefault(event.job, []).append(event)

    def state(self, job: str) -> str | None:
        """Return a job's state; None if nothing was told of it."""
        with self._lock:
            return self.jobs[job].state if job in self.jobs else None

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        self._thread.join(30)
        self._client.shutdown()
