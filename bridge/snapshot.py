"""A snapshot: a job's events folded into its current state. Pure.

Used by the server's journal and by the Python client alike; the page's ``snapshot.js`` is its twin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from bridge.events import TERMINAL, Event, EventType
from bridge.room import Room
from bridge.task_state import NOTHING, WHY, TaskState

__all__ = ["MAX_TASKS", "Snapshot"]

#: Tasks that a snapshot lists; the counts cover all of them.
MAX_TASKS = 100


class Given(NamedTuple):
    """What a snapshot was decoded from."""

    #: All of it, as long as no event came after it.
    encoded: dict[str, Any] | None = None
    #: Tasks that it counted, and of those that ended how many it did not list.
    total: int = 0
    unlisted: int = 0
    #: What all tasks had said, and the listed ones.
    meta: dict[str, Any] = NOTHING
    listed_meta: dict[str, Any] = NOTHING


#: Of a snapshot that was not decoded from another.
FRESH = Given()


class Snapshot:
    """The current state of one job.

    Args:
        job: its id.
    """

    # A server holds many of these.
    __slots__ = (
        "_asked",
        "_estimate",
        "_given",
        "_more",
        "_result",
        "_result_run",
        "_tasks",
        "_total",
        "at",
        "dropped",
        "job",
        "name",
        "owner",
        "queued_at",
        "started_at",
    )

    def __init__(self, job: str) -> None:
        self.job = job
        self.name = ""
        self.owner: str | None = None
        self.at = 0.0
        self.queued_at: float | None = None
        self.started_at: float | None = None
        self.dropped = 0
        self._tasks: dict[str, TaskState] = {}
        #: Tasks that were planned when the job was enqueued, and that its tasks spawned.
        self._total = self._more = 0
        #: None unless somebody asked for the job to be cancelled; then why it takes long, or "".
        self._asked: str | None = None
        self._result: dict[str, Any] = NOTHING
        self._result_run = -1
        #: How long it will wait and take, as a server thinks.
        self._estimate: dict[str, Any] = NOTHING
        self._given = FRESH

    def apply(self, event: Event) -> bool:
        """Fold one event in.

        Returns:
            False if it was a duplicate or stale, and changed nothing.
        """
        if event.type == "cancelling":
            return self._cancel(event)
        if event.type == "estimate":
            return self._expect(event)
        task = self._tasks.get(event.task)
        if task is None:
            own = event.task == self.job
            task = TaskState(self.job if own else event.task, sys.intern(event.name))
        if not task.accepts(event):
            self._late(event)
            return False
        self._touch()
        if task.task not in self._tasks:
            self._tasks[task.task] = task
            self._more += event.data.get("more", 0)
        task.apply(event)
        self._describe(event)
        self._times(event)
        if event.terminal and self.ended:
            self._settle()
        return True

    def _settle(self) -> None:
        """Let go of what is of no use once the job is over; a server holds many of them."""
        self._estimate = NOTHING
        if self._asked:
            self._asked = ""

    def _late(self, event: Event) -> None:
        """Take from a `queued` that a fast worker overtook what nobody else tells."""
        if event.type == "queued" and event.task == self.job and self.queued_at is None:
            self.queued_at = event.at
            self._touch()

    def _touch(self) -> None:
        """What this snapshot was decoded from is not all that is known any more."""
        if self._given.encoded is not None:
            self._given = self._given._replace(encoded=None)

    def _cancel(self, event: Event) -> bool:
        reason = event.data.get("reason", "")
        if self.ended or (self.cancelling and reason in ("", self._asked)):
            return False
        self._asked = reason
        self.at = max(self.at, event.at)
        self._touch()
        return True

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked for the job to be cancelled."""
        return self._asked is not None

    @property
    def estimate(self) -> dict[str, Any]:
        """How long it will wait and take, as a server thinks; see ``expectation``."""
        return self._estimate

    def expectation(self, at: float, *, queue: Any, eta: Any) -> Event:
        """Return an event that says how long it will wait and take.

        Args:
            at: seconds since the epoch.
            queue: ``{name, ahead, workers}`` of the queue in which it waits, or None.
            eta: ``{earliest, latest, jobs}``, or None.
        """
        data = {"queue": queue, "eta": eta}
        return Event(
            job=self.job,
            task=self.job,
            name=self.name,
            owner=self.owner,
            type="estimate",
            at=at,
            data=data,
        )

    def _expect(self, event: Event) -> bool:
        if self.ended:
            return False
        self._estimate = event.data
        self._touch()
        return True

    def _describe(self, event: Event) -> None:
        if not self.name or (event.task == self.job and event.run == 0):
            self.name = sys.intern(event.name)
        self.owner = self.owner or (event.owner and sys.intern(event.owner))
        self._total = max(self._total, event.data.get("total", 0))
        self.dropped += event.data.get("dropped", 0)

    def _times(self, event: Event) -> None:
        self.at = max(self.at, event.at)
        if event.type == "queued" and self.queued_at is None:
            self.queued_at = event.at
        elif event.type == "started":
            self.started_at = self.started_at or event.at
        if event.type == "succeeded" and event.run >= self._result_run:
            # Of several tasks it is the one begun last, whose word may not arrive last.
            self._result_run = event.run
            wanted = ("result", "result_omitted")
            self._result = {key: event.data[key] for key in wanted if key in event.data}

    def _failure(self) -> TaskState | None:
        """Return the task that was the first to end as it should not; None if none did."""
        failed = [task for task in self._tasks.values() if task.failed]
        return min(failed, key=lambda task: task.ended_at or 0.0, default=None)

    @property
    def total(self) -> int:
        """Tasks that the job is known to have."""
        known = max(len(self._tasks) + self._given.unlisted, self._given.total)
        return max(self._total + self._more, known)

    @property
    def done(self) -> int:
        """Tasks that ended."""
        return self._given.unlisted + sum(task.ended for task in self._tasks.values())

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``retrying``, ``cancelling`` or how the job ended."""
        if self._given.encoded is not None:
            return str(self._given.encoded["state"])
        if failure := self._failure():
            return failure.state
        if self._tasks and self.done >= self.total:
            return "succeeded"
        if self.cancelling:
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
        if self.total == 1:
            return next((task.bars for task in self._tasks.values()), [])
        # Not in the order in which they were heard of, which is another one on each server.
        tasks = sorted(self._tasks.values(), key=TaskState.place)
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

    @property
    def meta(self) -> dict[str, Any]:
        """What the tasks said about the job; the task begun last has the last word."""
        merged: dict[str, Any] = {}
        for task in sorted(self._tasks.values(), key=lambda task: (task.order[0], task.task)):
            merged |= task.meta
        # What a task that is not listed said stands until a listed one says something new.
        before, given = self._given.listed_meta, self._given.meta.items()
        return merged | {name: v for name, v in given if merged.get(name) == before.get(name)}

    @property
    def incomplete(self) -> bool:
        """Whether something that a task reported never came."""
        return any(task.incomplete for task in self._tasks.values())

    @property
    def stalled(self) -> bool:
        """Whether nothing has come from a running task for longer than it should."""
        return not self.ended and any(task.stalled for task in self._tasks.values())

    def running(self) -> Iterator[TaskState]:
        """Yield the tasks that run."""
        return (task for task in self._tasks.values() if task.state == "running")

    def waiting(self) -> Iterator[TaskState]:
        """Yield the tasks that do not run yet, or not any more until they are tried again."""
        return (task for task in self._tasks.values() if task.waiting)

    def verdicts(self) -> Iterator[Event]:
        """Yield, once more, the verdicts of a server that nothing has overturned."""
        for task in self._tasks.values():
            if task.presumed and task.ended_at is not None:
                yield self.verdict(task, cast(EventType, task.state), task.ended_at, **task.why)

    def verdict(self, task: TaskState, kind: EventType, at: float, **data: Any) -> Event:
        """Return an event that says what a server makes of what a task does not say itself.

        Args:
            task: which of this job's.
            kind: ``stalled``, or how it ended.
            at: seconds since the epoch.
            data: more about it.
        """
        run, seq, tick = task.order
        return Event(
            job=self.job,
            task=task.task,
            name=task.name,
            owner=self.owner,
            type=kind,
            at=at,
            run=run,
            seq=seq,
            tick=tick,
            data={"verdict": True, **data},
        )

    def task(self, task: str) -> TaskState | None:
        """Return what is known of a task; None for nothing."""
        return self._tasks.get(task)

    @property
    def ended_at(self) -> float | None:
        """Seconds since the epoch at which the job ended; None while it has not."""
        if not self.ended:
            return None
        if failure := self._failure():
            return failure.ended_at
        return max((task.ended_at or 0.0 for task in self._tasks.values()), default=None)

    def _outcome(self) -> dict[str, Any]:
        if failure := self._failure():
            return {key: failure.why.get(key) for key in WHY}
        if self.state == "retrying":
            waiting = sorted(task.place() for task in self.waiting() if task.state == "retrying")
            return {key: self._tasks[waiting[0][-1]].why.get(key) for key in WHY}
        if self.state == "cancelling":
            return {"reason": self._asked or None}
        return self._result if self.ended else {}

    def _expected(self) -> dict[str, Any]:
        """Return how long it will wait and take, while that is of any use."""
        told = {} if self.ended else self._estimate
        queued = self.state == "queued"
        return {"queue": told.get("queue") if queued else None, "eta": told.get("eta")}

    def encode(self, most: int | None = None) -> dict[str, Any]:
        """Return the snapshot as the JSON object of the protocol.

        Args:
            most: bytes of JSON that it may take; of what is beyond, ``bridge.room`` leaves out
                some. Default no bound.
        """
        if self._given.encoded is not None:
            return self._given.encoded
        fixed = self._fixed()
        room = Room(most, fixed)
        outcome, meta, bars = room.outcome(self._outcome()), room.meta(self.meta), self.bars
        parts = {"meta": meta, "bars": room.bars(bars), "tasks": room.tasks(self._listed())}
        return {**fixed, **outcome, **parts}

    def _fixed(self) -> dict[str, Any]:
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
            "planned": self._total,
            "spawned": self._more,
            "bars": [],
            "meta": {},
            "tasks": [],
            "error": None,
            "reason": None,
            "retry_at": None,
            "cancelling": self.cancelling,
            "stalled": self.stalled,
            **self._expected(),
            "dropped": self.dropped,
            "incomplete": self.incomplete,
            "source": "events",
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Snapshot:
        """Return a snapshot that goes on from an encoded one, as a client does."""
        new = cls(data["job"])
        for name in ("name", "owner", "at", "queued_at", "started_at", "dropped"):
            setattr(new, name, data[name])
        new._tasks = {task["task"]: TaskState.decode(task) for task in data["tasks"]}
        new._total, new._more = data["planned"], data["spawned"]
        if data["cancelling"]:
            new._asked = (data["state"] == "cancelling" and data["reason"]) or ""
        new._estimate = {key: data[key] for key in ("queue", "eta")}
        new._result = {key: data[key] for key in ("result", "result_omitted") if key in data}
        runs = (task.order[0] for task in new._tasks.values() if task.state == "succeeded")
        new._result_run = max(runs, default=-1)
        unlisted = max(0, data["done"] - new.done)
        new._given = Given(data, data["total"], unlisted, data["meta"], new.meta)
        return new

    def _listed(self) -> list[TaskState]:
        """Return the tasks to list: those that go on first, then what went wrong."""
        return sorted(self._tasks.values(), key=TaskState.place)[:MAX_TASKS]
