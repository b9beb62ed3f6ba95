"""A client that sees all jobs of one owner, as the page does: plain Socket.IO, and snapshots."""

from __future__ import annotations

import threading
from typing import Any

import socketio

from bridge.events import NAMESPACE, TERMINAL, Event
from bridge.snapshot import Snapshot
from bridge.watcher import InOrderClient
from support.stack import Stack

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
        self._lock = threading.Lock()
        self._client: socketio.Client = InOrderClient(handle_sigint=False)
        self._client.on("job", self._take, namespace=NAMESPACE)
        token = stack.token(owner=owner, scope="watch", ttl=3600)
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"]}
        self._client.connect(stack.url, auth={"token": token}, **options)
        assert self._client.call("jobs", {}, namespace=NAMESPACE)["ok"]

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
