"""A client that sees all jobs of one owner, as the page does: plain Socket.IO, and snapshots."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import socketio

from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE, TERMINAL, Event
from bridge.protocol.snapshot import Snapshot
from support.bus import Bus
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
        #: Jobs that the list in progress has not named, and that go on as far as is known.
        self._unlisted: set[str] = set()
        until(lambda: self._listening, 30, "the owner's jobs to be listed")

    def _stay_connected(self) -> None:
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"], "wait_timeout": 20}
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
        if page is None:
            self._unlisted = {job for job, one in self.jobs.items() if not one.ended}
        request = {"limit": 200, **({"next": page} if page else {})}
        self._client.emit("jobs", request, namespace=NAMESPACE, callback=self._list)

    def _list(self, answer: dict[str, Any]) -> None:
        assert answer["ok"], answer
        for data in answer["jobs"]:
            self._know(data)
        self._listening = True
        if answer.get("next"):
            self._ask(answer["next"])
            return
        # A broker that was killed may have lost events: the server then knows of results alone.
        for job in self._unlisted:
            self._client.emit("watch", {"job": job}, namespace=NAMESPACE, callback=self._watched)

    def _watched(self, answer: dict[str, Any]) -> None:
        if answer["ok"]:
            self._know(answer["snapshot"])

    def _know(self, data: dict[str, Any]) -> None:
        with self._lock:
            self.jobs[data["job"]] = Snapshot.decode(data)
            self._unlisted.discard(data["job"])

    def found(self, job: str) -> dict[str, Any]:
        """Return what is known of a job: here, at the server, in the stream and to Celery."""
        asked: list[Any] = []
        self._client.emit("watch", {"job": job}, namespace=NAMESPACE, callback=asked.append)
        with suppress(AssertionError):
            until(lambda: asked, 30)
        settings = self._stack.settings
        events = [one for one in Bus(settings, settings.events).events() if one.job == job]
        return {
            "client": self.jobs[job].encode() if job in self.jobs else None,
            "server": asked,
            "stream": [(one.task, one.type, one.order, one.at) for one in events],
            "celery": self._stack.bridge.app.AsyncResult(job).state,
        }

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
