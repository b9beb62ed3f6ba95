"""A client that sees all jobs of one owner, as the page does: plain Socket.IO, and snapshots."""

from __future__ import annotations

import threading
from typing import Any

import socketio

from bridge.events import NAMESPACE, TERMINAL, Event
from bridge.snapshot import Snapshot
from bridge.watcher import InOrderClient
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
        self._client: socketio.Client = InOrderClient(handle_sigint=False)
        self._client.on("job", self._take, namespace=NAMESPACE)
        self._client.on("connect", self._connected, namespace=NAMESPACE)
        token = stack.token(owner=owner, scope="watch", ttl=3600)
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"]}
        self._client.connect(stack.url, auth={"token": token}, **options)
        until(lambda: self._listening, 30, "the owner's jobs to be listed")

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
        self._client.shutdown()
