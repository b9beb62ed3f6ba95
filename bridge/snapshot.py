"""A snapshot: a job's events folded into its current state. Pure.

Used by the server's journal and by the Python client alike; the page's ``snapshot.js`` is its twin.
"""

from __future__ import annotations

from typing import Any

from bridge.events import TERMINAL, Event

__all__ = ["MAX_TASKS", "Snapshot"]

#: Tasks that a snapshot lists; the counts cover all of them.
MAX_TASKS = 100

STATES = {
    "queued": "queued",
    "started": "running",
    "progress": "running",
    "log": "running",
    "output": "running",
    "retrying": "retrying",
}


class TaskState:
    """What is known of one task of the job."""

    __slots__ = ("attempt", "bars", "incomplete", "name", "order", "state", "task")

    def __init__(self, task: str, name: str) -> None:
        self.task, self.name = task, name
        self.state = "queued"
        self.attempt = 0
        self.bars: list[dict[str, Any]] = []
        self.order = (-1, -1, -1)
        self.incomplete = False

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

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
            self.bars = []
            self.attempt += event.run > 0
            # A parent's last word about a run that it did not execute begins at no sequence.
            hole = event.seq > 0
        else:
            hole = event.seq > seq + 1
        self.incomplete = self.incomplete or hole
        self.order = event.order
        self.state = event.type if event.terminal else STATES.get(event.type, self.state)
        self.attempt = event.data.get("attempt", self.attempt)
        if event.type == "progress":
            self.bars = event.data.get("bars", [])

    def encode(self) -> dict[str, Any]:
        run, seq, tick = self.order
        return {
            "task": self.task,
            "name": self.name,
            "state": self.state,
            "attempt": self.attempt,
            "bars": self.bars,
            "run": run,
            "seq": seq,
            "tick": tick,
            "incomplete": self.incomplete,
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> TaskState:
        task = cls(data["task"], data["name"])
        task.state, task.attempt, task.bars = data["state"], data["attempt"], data["bars"]
        task.order = (data["run"], data["seq"], data["tick"])
        task.incomplete = data["incomplete"]
        return task


class Snapshot:
    """The current state of one job.

    Args:
        job: its id.
    """

    def __init__(self, job: str) -> None:
        self.job = job
        self.name = ""
        self.owner: str | None = None
        self.at = 0.0
        self.queued_at: float | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.dropped = 0
        self._tasks: dict[str, TaskState] = {}
        self._total = 0
        #: Ended tasks that the snapshot this one was decoded from counted but did not list.
        self._unlisted = 0
        self._cancelling = False
        self._outcome: dict[str, Any] = {}
        self._end = ""

    def apply(self, event: Event) -> bool:
        """Fold one event in.

        Returns:
            False if it was a duplicate or stale, and changed nothing.
        """
        if event.type == "cancelling":
            return self._cancel(event)
        task = self._tasks.get(event.task)
        if task is None:
            task = TaskState(event.task, event.name)
        if not task.accepts(event):
            self._late(event)
            return False
        self._tasks[event.task] = task
        task.apply(event)
        self._describe(event)
        self._times(event)
        return True

    def _late(self, event: Event) -> None:
        """Take from a `queued` that a fast worker overtook what nobody else tells."""
        if event.type == "queued" and event.task == self.job and self.queued_at is None:
            self.queued_at = event.at

    def _cancel(self, event: Event) -> bool:
        news = not self._cancelling and not self.ended
        self._cancelling = True
        self.at = max(self.at, event.at)
        return news

    def _describe(self, event: Event) -> None:
        if not self.name or (event.task == self.job and event.run == 0):
            self.name = event.name
        self.owner = self.owner or event.owner
        self._total = max(self._total, event.data.get("total", 0))
        self.dropped += event.data.get("dropped", 0)

    def _times(self, event: Event) -> None:
        self.at = max(self.at, event.at)
        if event.type == "queued" and self.queued_at is None:
            self.queued_at = event.at
        elif event.type == "started":
            self.started_at = self.started_at or event.at
        if event.terminal:
            self._note_outcome(event)

    def _note_outcome(self, event: Event) -> None:
        if event.type == "succeeded":
            if self._end in ("", "succeeded"):
                self._outcome = {
                    key: event.data[key]
                    for key in ("result", "result_omitted")
                    if key in event.data
                }
                self._end = "succeeded"
        elif self._end in ("", "succeeded"):
            self._end = event.type
            self._outcome = {"error": event.data["error"]} if "error" in event.data else {}
        self.ended_at = event.at if self.ended else None

    @property
    def total(self) -> int:
        """Tasks that the job is known to have."""
        return max(self._total, len(self._tasks) + self._unlisted)

    @property
    def done(self) -> int:
        """Tasks that ended."""
        return self._unlisted + sum(task.ended for task in self._tasks.values())

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``retrying``, ``cancelling`` or how the job ended."""
        if self._end and self._end != "succeeded":
            return self._end
        if self._tasks and self.done >= self.total:
            return "succeeded"
        if self._cancelling:
            return "cancelling"
        states = {task.state for task in self._tasks.values()}
        if "running" in states or ("succeeded" in states):
            return "running"
        return "retrying" if "retrying" in states else "queued"

    @property
    def ended(self) -> bool:
        """Whether the job is over."""
        return self.state in TERMINAL

    @property
    def bars(self) -> list[dict[str, Any]]:
        """Bars to draw: the task's own, or one over all tasks and then those of running ones."""
        tasks = list(self._tasks.values())
        if self.total == 1:
            return tasks[0].bars if tasks else []
        running = [bar for task in tasks if task.state == "running" for bar in task.bars]
        return [self._combined(), *running]

    def _combined(self) -> dict[str, Any]:
        elapsed = max(0.0, self.at - self.started_at) if self.started_at else 0.0
        rate = self.done / elapsed if elapsed and self.done else None
        return {
            "position": 0,
            "desc": "tasks",
            "unit": "task",
            "unit_scale": False,
            "n": self.done,
            "total": self.total,
            "postfix": "",
            "rate": rate and round(rate, 3),
            "eta": rate and round((self.total - self.done) / rate, 1),
            "elapsed": round(elapsed, 3),
            "closed": self.ended,
        }

    def encode(self) -> dict[str, Any]:
        """Return the snapshot as the JSON object of the protocol."""
        return {
            "job": self.job,
            "name": self.name,
            "owner": self.owner,
            "state": self.state,
            "at": self.at,
            "queued_at": self.queued_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "total": self.total,
            "done": self.done,
            "bars": self.bars,
            "tasks": [task.encode() for task in self._listed()],
            "error": None,
            **(self._outcome if self.ended else {}),
            "dropped": self.dropped,
            "incomplete": any(task.incomplete for task in self._tasks.values()),
            "source": "events",
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Snapshot:
        """Return a snapshot that goes on from an encoded one, as a client does."""
        new = cls(data["job"])
        for name in ("name", "owner", "at", "queued_at", "started_at", "ended_at", "dropped"):
            setattr(new, name, data[name])
        new._tasks = {task["task"]: TaskState.decode(task) for task in data["tasks"]}
        new._total = data["total"]
        new._unlisted = max(0, data["done"] - new.done)
        new._cancelling = data["state"] == "cancelling"
        new._end = data["state"] if data["state"] in TERMINAL else ""
        keys = ("result", "result_omitted", "error")
        new._outcome = {key: data[key] for key in keys if data.get(key) is not None}
        return new

    def _listed(self) -> list[TaskState]:
        tasks = sorted(self._tasks.values(), key=lambda task: task.ended)
        return tasks[:MAX_TASKS]
