"""What Flower, or any other monitor of Celery's events, knows."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Self

from celery.events.state import State

__all__ = ["Monitor"]


class Monitor:
    """Receives the events of an application's workers while its ``with`` block runs.

    Args:
        app: the Celery application.
    """

    def __init__(self, app: Any) -> None:
        self._app, self._state, self._over = app, State(), threading.Event()
        #: All events, in order.
        self.events: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def state(self, task: str) -> str | None:
        """Return the state of a task; None if no event told of it."""
        known = self._state.tasks.get(task)
        return known.state if known else None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20), "no broker"
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _receive(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._note})
            with receiver.consumer_context(wakeup=False) as (consuming, _, _):
                self._ready.set()
                while not self._over.is_set():
                    with suppress(OSError):  # a timeout
                        consuming.drain_events(timeout=0.2)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._state.event(event)
