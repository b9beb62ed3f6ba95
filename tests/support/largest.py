"""Jobs of which the answers of a server are as large as any are, made by what publishes events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from bridge.bus.write_only_manager import new_write_only_manager
from bridge.protocol.event import NAMESPACE, Event, room_of_job
from bridge.settings import Settings

__all__ = ["FULL", "MANY", "REQUESTS", "WIDE", "history_of", "publish_largest"]

#: A job with as long a history as a server keeps, one with as many tasks as it lists, and those of
#: a long list.
FULL, WIDE, MANY = "full", "wide", [f"one-of-many-{number}" for number in range(60)]
#: What asks for all that.
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("watch", {"job": FULL}),
    ("jobs", {"limit": 200}),
    ("watch", {"job": WIDE}),
    ("jobs", {}),
]
EVENTS, TASKS, BARS = 1_000, 100, 32
#: Bars with long texts, and as much as a task may say about itself.
LOADED: dict[str, Any] = {
    "bars": [
        {"position": number, "desc": "d" * 200, "unit": "u" * 200, "postfix": "p" * 200, "n": 1}
        for number in range(BARS)
    ],
    "meta": {f"key {number}": "m" * 90 for number in range(40)},
}


@contextmanager
def history_of(settings: Settings, job: str, owner: str) -> Iterator[Callable[[str], None]]:
    """Yield what publishes lines of a job's log, one event each."""
    writer, numbers = new_write_only_manager(settings), count()

    def publish(message: str) -> None:
        line = {"at": 0.0, "level": "INFO", "message": message}
        told = {"type": "log", "at": time.time(), "run": 1, "seq": next(numbers)}
        event = Event(job=job, task=job, owner=owner, data={"lines": [line]}, **told)
        writer.emit("job", event.encode(), namespace=NAMESPACE, room=room_of_job(job))

    try:
        yield publish
    finally:
        writer.close()


def publish_largest(settings: Settings, owner: str, *, loaded_with: dict[str, Any] = LOADED) -> str:
    """Publish events of all these jobs of an owner.

    Args:
        settings: where.
        owner: whose they are.
        loaded_with: bars and meta of each task of the wide job, and of each of the many.

    Returns:
        The id of the job that was published last.
    """
    with history_of(settings, FULL, owner) as log:
        for _ in range(EVENTS):
            log("x" * 8_000)
    writer = new_write_only_manager(settings)

    def publish(job: str, kind: Any, data: dict[str, Any], **place: Any) -> None:
        told = {"task": job, "name": "support.largest", "owner": owner, "run": 1, **place}
        event = Event(job=job, type=kind, at=1_800_000_000.0, data=data, **told)
        writer.emit("job", event.encode(), namespace=NAMESPACE, room=room_of_job(job))

    try:
        for number in range(TASKS):
            task = f"task {number}"
            publish(WIDE, "started", {"attempt": 1, "total": TASKS}, task=task)
            publish(WIDE, "progress", loaded_with, task=task, tick=1)
        for job in MANY:
            publish(job, "started", {"attempt": 1})
            publish(job, "progress", loaded_with, tick=1)
    finally:
        writer.close()
    return MANY[-1]
