"""What is known of one task of a job. Pure."""

from __future__ import annotations

import json
from typing import Any

from bridge.events import TERMINAL, Event, finite_json

__all__ = ["TaskState"]

#: State of a task after an event that does not end it.
STATES = {
    "queued": "queued",
    "started": "running",
    "progress": "running",
    "log": "running",
    "output": "running",
    "retrying": "retrying",
}


#: In the place of many empty ones; never changed.
NOTHING: dict[str, Any] = {}
NO_BARS: list[dict[str, Any]] = []


class TaskState:
    """What is known of one task of the job."""

    __slots__ = (
        "_bars",
        "attempt",
        "ended_at",
        "error",
        "incomplete",
        "meta",
        "name",
        "order",
        "state",
        "task",
    )

    def __init__(self, task: str, name: str) -> None:
        self.task, self.name = task, name
        self.state = "queued"
        self.attempt = 0
        self._bars: list[dict[str, Any]] | str = NO_BARS
        self.meta: dict[str, Any] = NOTHING
        self.order = (-1, -1, -1)
        self.incomplete = False
        self.ended_at: float | None = None
        self.error: dict[str, Any] | None = None

    @property
    def bars(self) -> list[dict[str, Any]]:
        """Its bars, as they travel."""
        if isinstance(self._bars, str):
            unpacked: list[dict[str, Any]] = json.loads(self._bars)
            return unpacked
        return self._bars

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def failed(self) -> bool:
        """Whether it ended, and not as it should."""
        return self.ended and self.state != "succeeded"

    def place(self) -> tuple[bool, bool, int, str]:
        """Return what tasks are listed by: what goes on, what went wrong, then the rest."""
        return (self.ended, not self.failed, self.order[0], self.task)

    def accepts(self, event: Event) -> bool:
        """Whether the event is news: not a duplicate, not from an older run, not after the end."""
        if event.order <= self.order:
            return False
        same_run = event.run == self.order[0]
        # A second opinion about the end of a task (the worker's parent, say) changes nothing.
        return not (self.ended and (same_run or event.terminal))

    def apply(self, event: Event) -> None:
        run, seq, _ = self.order
        if event.run > run:
            self._bars, self.meta = NO_BARS, NOTHING
            self.attempt += event.run > 0
            # A parent's last word about a run that it did not execute begins at no sequence.
            hole = event.seq > 0 or event.type == "progress"
        else:
            # Progress has the number of the event before it, which must have come.
            hole = event.seq > seq + (event.type != "progress")
        self.incomplete = self.incomplete or hole
        self.order = event.order
        self.state = event.type if event.terminal else STATES.get(event.type, self.state)
        self.attempt = event.data.get("attempt", self.attempt)
        self.ended_at = event.at if event.terminal else None
        self.error = event.data.get("error") if event.terminal else None
        if event.type == "progress":
            self._bars = event.data.get("bars", NO_BARS)
            self.meta = event.data.get("meta", NOTHING)
        elif event.terminal and self._bars and not isinstance(self._bars, str):
            # A server holds many jobs that have ended, and as text their bars take a quarter.
            self._bars = finite_json(self._bars)

    def encode(self) -> dict[str, Any]:
        run, seq, tick = self.order
        return {
            "task": self.task,
            "name": self.name,
            "state": self.state,
            "attempt": self.attempt,
            "bars": self.bars,
            "meta": self.meta,
            "run": run,
            "seq": seq,
            "tick": tick,
            "incomplete": self.incomplete,
            "ended_at": self.ended_at,
            "error": self.error,
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> TaskState:
        task = cls(data["task"], data["name"])
        task.state, task.attempt, task._bars = data["state"], data["attempt"], data["bars"]
        task.meta = data["meta"]
        task.order = (data["run"], data["seq"], data["tick"])
        task.incomplete = data["incomplete"]
        task.ended_at, task.error = data["ended_at"], data["error"]
        return task
