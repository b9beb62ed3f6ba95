"""A job together with all that a client of it is told."""

from __future__ import annotations

from typing import Any

from support.stack import Stack
from support.wait import until

__all__ = ["Watched"]


class Watched:
    """A job that is enqueued and watched.

    Args:
        stack: where.
        task: its name, or a signature.
        args: its arguments.
        options: Celery's.
    """

    def __init__(self, stack: Stack, task: Any, *args: Any, **options: Any) -> None:
        self.bridge = stack.bridge
        self.id = self.bridge.enqueue(task, list(args), owner="me", **options).id
        self.watcher = self.bridge.watch(self.id, timeout=60)
        self.events = iter(self.watcher)
        self.told: list[dict[str, Any]] = []

    @property
    def types(self) -> list[str]:
        """Types of what was told, but for progress, and estimates, which depend on other jobs."""
        passing = ("progress", "estimate")
        return [event["type"] for event in self.told if event["type"] not in passing]

    @property
    def celerys(self) -> str:
        """What Celery says about its state."""
        return str(self.bridge.app.AsyncResult(self.id).state)

    def until_celery_says(self, *states: str) -> None:
        """Wait until Celery's state of it is one of these."""
        seen = [""]

        def reached() -> bool:
            seen[0] = self.celerys
            return seen[0] in states

        try:
            until(reached, 30)
        except AssertionError:
            raise AssertionError(f"Celery says {seen[0]}, not {' or '.join(states)}") from None

    def until(self, *types: str) -> dict[str, Any]:
        """Read events until one of these types comes; return it."""
        return self._read(lambda event: event["type"] in types)

    def pid(self) -> int:
        """Wait until it runs; return the process in which it says that it does."""
        self._read(lambda _: "pid" in self.watcher.snapshot.meta)
        return int(self.watcher.snapshot.meta["pid"])

    def end(self) -> dict[str, Any]:
        """Read all events until its end; return its snapshot."""
        self.told += self.events
        return self.watcher.snapshot.encode()

    def _read(self, condition: Any) -> dict[str, Any]:
        for event in self.events:
            self.told.append(event)
            if condition(event):
                return event
        raise AssertionError(f"the job ended: {self.types}")
