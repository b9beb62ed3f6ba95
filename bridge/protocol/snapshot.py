"""``Snapshot``: the current state of a job, folded from its events. Pure.

The server's journal and the Python client use it; the page's ``snapshot.ts`` does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypedDict, cast

from bridge.protocol.event import TALK, TERMINAL, Event, EventType
from bridge.protocol.json_types import (
    BarData,
    Expectation,
    JobState,
    JSONObject,
    QueuePlace,
    SnapshotData,
    Totals,
)
from bridge.protocol.size_budget import SizeBudget
from bridge.protocol.task_state import NOTHING, TaskState, Why
from bridge.protocol.task_table import TaskTable

__all__ = ["MAX_TASKS", "Snapshot"]

#: Maximum tasks that a snapshot lists; the counts cover all tasks.
MAX_TASKS = 100


class Outcome(Why, total=False):
    """How a job ended, or why it has not yet."""

    result: object
    result_omitted: bool


class Failure(Why):
    """How the first task ended that did not succeed."""

    state: JobState
    ended_at: float | None


class Estimate(TypedDict, total=False):
    """Data of an ``estimate`` event."""

    queue: QueuePlace | None
    eta: Expectation | None


class Given(NamedTuple):
    """Values of the encoded snapshot that a snapshot was decoded from."""

    #: The encoded snapshot; None once an event has changed the state.
    encoded: SnapshotData | None = None
    #: Tasks that it counted, and ended tasks that it did not list.
    total: int = 0
    unlisted: int = 0
    #: Meta of all tasks, and of the listed ones.
    meta: JSONObject = NOTHING
    listed_meta: JSONObject = NOTHING
    #: The first task that did not succeed, if it was not listed.
    failure: Failure | None = None
    #: Whether events of a task that was not listed are missing.
    incomplete: bool = False


#: For a snapshot that was not decoded.
FRESH = Given()
#: Shared empty values, which save memory; never changed.
NO_OUTCOME: Outcome = {}
NO_ESTIMATE: Estimate = {}


class Snapshot:
    """The current state of one job.

    Args:
        job: id of the job.
    """

    # A server holds many of these.
    __slots__ = (
        "_asked",
        "_disturbed",
        "_estimate",
        "_given",
        "_more",
        "_result",
        "_result_run",
        "_state",
        "_swept",
        "_tasks",
        "_total",
        "_totals",
        "again_of",
        "at",
        "dropped",
        "job",
        "name",
        "owner",
        "queued_at",
        "saved",
        "started_at",
        "title",
    )

    def __init__(self, job: str) -> None:
        self.job = job
        self.name = ""
        self.title: str | None = None
        self.owner: str | None = None
        #: Id of the job that this one repeats; None for a job that repeats none.
        self.again_of: str | None = None
        self.at = 0.0
        self.queued_at: float | None = None
        self.started_at: float | None = None
        self.dropped = 0
        #: Seconds since the epoch of the newest checkpoint of a task; None without one.
        self.saved: float | None = None
        self._tasks = TaskTable()
        #: Tasks that were planned when the job was enqueued, and tasks that its tasks spawned.
        self._total = self._more = 0
        #: None unless the job was asked to cancel; then the reason why that takes long, or "".
        self._asked: str | None = None
        self._result = NO_OUTCOME
        self._result_run = -1
        #: A server's estimate of the time to wait and to run.
        self._estimate = NO_ESTIMATE
        #: Why no events come from the workers, by a server's verdict; None while they do.
        self._disturbed: str | None = None
        #: When and why a server presumed all waiting tasks cancelled; None if it did not.
        self._swept: tuple[float, Why] | None = None
        self._given = FRESH
        #: A server's, as of the last event; None if it was without.
        self._totals: Totals | None = None
        #: The state, which a server reads several times for each event; None if it is not known.
        self._state: str | None = None

    def apply(self, event: Event, totals: Totals | None = None) -> bool:
        """Fold one event in.

        Args:
            event: the next event.
            totals: the event's ``totals``, as a server sends them to clients: a snapshot that was
                decoded does not know the tasks that were not listed. Default None for none.

        Returns:
            False if it was a duplicate or stale, and changed nothing.
        """
        told = totals is not None or self._totals is not None
        steady = event.type in TALK and not told and self._runs(event.task)
        changed = self._fold(event)
        if not steady:
            self._state = None
        if not changed:
            return False
        self._totals = totals
        if totals is not None and (outcome := _result_of(totals)):
            self._result = outcome
        if event.terminal and self.ended:
            self._settle()
        return True

    def _runs(self, task: str) -> bool:
        known = self._tasks.get(task)
        return known is not None and known.state == "running"

    def _fold(self, event: Event) -> bool:
        if event.type == "cancelling":
            return self._cancel(event)
        if event.type == "estimate":
            return self._expect(event)
        if event.type == "disturbed":
            return self._disturb(event)
        if event.verdict and event.data.get("waiting"):
            return self._sweep(event)
        task = self._tasks.get(event.task)
        if task is None:
            own = event.task == self.job
            task = TaskState(self.job if own else event.task, sys.intern(event.name))
            self._more += event.data.get("more", 0)
        if not task.accepts(event):
            self._late(event)
            return False
        self._touch()
        self._tasks.fold(task, event)
        self._describe(event)
        self._times(event)
        return True

    def _sweep(self, event: Event) -> bool:
        why: Why = {"reason": event.data.get("reason")}
        if not self._tasks.presume_cancelled(event.at, why):
            return False
        self._touch()
        self._swept = (event.at, why)
        self.at = max(self.at, event.at)
        return True

    def _settle(self) -> None:
        """Drop the fields that a finished job does not need; a server holds many of them."""
        self._estimate, self._disturbed = NO_ESTIMATE, None
        if self._asked:
            self._asked = ""

    def _late(self, event: Event) -> None:
        """Take what a ``queued`` event says that arrives after the task has started."""
        if event.type != "queued":
            return
        if (task := self._tasks.get(event.task)) is not None:
            task.note(event)
        if event.task == self.job and self.queued_at is None:
            self.queued_at = event.at
            self._touch()

    def _touch(self) -> None:
        """Drop the encoded form, which an event has made outdated."""
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
        """Whether the job was asked to cancel."""
        return self._asked is not None

    @property
    def estimate(self) -> Estimate:
        """A server's estimate of the time to wait and to run; see ``expectation``."""
        return self._estimate

    def expectation(self, at: float, *, queue: QueuePlace | None, eta: Expectation | None) -> Event:
        """Return an event with the estimated time to wait and to run.

        Args:
            at: seconds since the epoch.
            queue: the queue in which the job waits, or None.
            eta: when it is expected to end, or None.
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
        self._estimate = cast("Estimate", event.data)
        self._touch()
        return True

    @property
    def disturbed(self) -> str | None:
        """Why no events come from the workers, by a server's verdict; None while they do."""
        return None if self.ended else self._disturbed

    def disturbance(self, at: float, reason: str | None) -> Event | None:
        """Return an event which reports that the path to the workers is disturbed, or open again.

        It has the order of the last event of one of the tasks, so that a client which does not
        know its type takes it for a duplicate.

        Args:
            at: seconds since the epoch.
            reason: why no events come from the workers; None if they do.

        Returns:
            The event; None if it changes nothing, or the job has ended or has no task.
        """
        if self.ended or reason == self._disturbed:
            return None
        listed = self._tasks.listed(1)
        told = {"disturbed": reason is not None, **({"reason": reason} if reason else {})}
        return self.verdict(listed[0], "disturbed", at, **told) if listed else None

    def _disturb(self, event: Event) -> bool:
        if self.ended:
            return False
        reason = event.data.get("reason") or "the way to its workers is disturbed"
        self._disturbed = reason if event.data.get("disturbed") else None
        self._touch()
        return True

    def _describe(self, event: Event) -> None:
        if not self.name or (event.task == self.job and event.run == 0):
            self.name = sys.intern(event.name)
        self.owner = self.owner or (event.owner and sys.intern(event.owner))
        self.title = self.title or event.data.get("title")
        self.again_of = self.again_of or event.data.get("again_of")
        self._total = max(self._total, event.data.get("total", 0))
        self.dropped += event.data.get("dropped", 0)
        if saved := event.data.get("saved"):
            self.saved = max(saved, self.saved or 0.0)

    def _times(self, event: Event) -> None:
        self.at = max(self.at, event.at)
        if event.type == "queued" and self.queued_at is None:
            self.queued_at = event.at
        elif event.type == "started":
            self.started_at = self.started_at or event.at
        if event.type == "succeeded" and event.run >= self._result_run:
            # The result is that of the task that began last; its event may not arrive last.
            self._result_run = event.run
            self._result = _result_of(event.data)

    def _failure(self) -> Failure | None:
        """Return how the first task ended that did not succeed, if the job has ended with it."""
        found = self._first_failure()
        stands = self._totals is None or (found and found["state"] == self._totals["state"])
        return found if stands else None

    def _first_failure(self) -> Failure | None:
        known, task = self._given.failure, self._tasks.first_failed()
        if task is None or (known and (known["ended_at"] or 0.0) <= (task.ended_at or 0.0)):
            return known
        state = cast("JobState", task.state)
        return {"state": state, "ended_at": task.ended_at, **task.why}

    @property
    def total(self) -> int:
        """Number of tasks that the job is known to have."""
        if self._totals is not None:
            return self._totals["total"]
        known = max(len(self._tasks) + self._given.unlisted, self._given.total)
        return max(self._total + self._more, known)

    @property
    def done(self) -> int:
        """Number of tasks that have ended."""
        if self._totals is not None:
            return self._totals["done"]
        return self._given.unlisted + self._tasks.done

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``retrying``, ``cancelling`` or how the job ended."""
        if self._state is None:
            self._state = self._state_now()
        return self._state

    def _state_now(self) -> str:
        if self._given.encoded is not None:
            return str(self._given.encoded["state"])
        if self._totals is not None:
            return self._totals["state"]
        if failure := self._failure():
            return str(failure["state"])
        done = self.done
        if done and done >= self.total:
            return "succeeded"
        if self.cancelling:
            return "cancelling"
        if done or self._tasks.count("running"):
            return "running"
        return "retrying" if self._tasks.count("retrying") else "queued"

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return (self._state or self.state) in TERMINAL

    @property
    def bars(self) -> list[BarData]:
        """Bars to draw: the only task's, or one that counts tasks, then those of running tasks."""
        if self._given.encoded is not None:
            return self._given.encoded["bars"]
        if self.total <= 1:
            return next((task.bars for task in self.drawn), [])
        return [self._combined(), *(bar for task in self.drawn for bar in task.bars)]

    @property
    def drawn(self) -> list[TaskState]:
        """Tasks whose bars and steps are drawn: the only one, or those listed that run."""
        if self.total <= 1:
            return list(self._tasks.values())[:1]
        return [task for task in self._listed() if task.state == "running"]

    def _combined(self) -> BarData:
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
    def meta(self) -> JSONObject:
        """Merged meta of the tasks; the task that began last overrides the others."""
        merged: JSONObject = {}
        for task in self._tasks.with_meta():
            merged |= task.meta
        # Meta of a task that is not listed stands until a listed task sets a new value.
        before, given = self._given.listed_meta, self._given.meta.items()
        unset = object()  # None is a value
        stands = {name for name, _ in given if merged.get(name, unset) == before.get(name, unset)}
        return merged | {name: value for name, value in given if name in stands}

    @property
    def incomplete(self) -> bool:
        """Whether events that a task sent never arrived."""
        if self._totals is not None:
            return self._totals["incomplete"]
        return self._given.incomplete or self._tasks.count("incomplete") > 0

    def totals(self, event: Event) -> Totals | None:
        """Return the state over all tasks after an event, for clients that do not know all tasks.

        Args:
            event: the event that was folded in last.

        Returns:
            None for a job of a single task.
        """
        if len(self._tasks) < 2:
            return None
        state = cast("JobState", self.state)
        counts = {"done": self.done, "total": self.total, "incomplete": self.incomplete}
        elsewhere = event.terminal and state == "succeeded" and event.run != self._result_run
        return cast("Totals", {"state": state, **counts, **(self._result if elsewhere else {})})

    @property
    def stalled(self) -> bool:
        """Whether a server reported a running task as stalled, and no event of it came since."""
        if self._given.encoded is not None:
            return self._given.encoded["stalled"]
        return not self.ended and self._tasks.count("stalled") > 0

    @property
    def waits_cancelled(self) -> bool:
        """Whether the job was cancelled, and its remaining tasks wait for a worker."""
        waits = self._tasks.count("queued") or self._tasks.count("retrying")
        return bool(waits and self.cancelling and not self._tasks.count("running"))

    @property
    def rests_cancelled(self) -> bool:
        """Whether the job was cancelled between two of its tasks: none of them runs or waits."""
        known = self._tasks.done == len(self._tasks)
        return bool(self.cancelling and self.done and known and not self.ended)

    def verdicts(self, now: float) -> Iterator[Event]:
        """Yield the server's verdicts on states again, except those that later events overturned.

        Args:
            now: seconds since the epoch, the time of a verdict that is no end.
        """
        if not self._tasks.count("presumed"):
            return
        at, why = self._swept or (0.0, None)
        if why is not None:
            yield self.sweep(at, why["reason"])
        for task in self._tasks.values():
            if task.presumed and task.why is not why:
                at = now if task.ended_at is None else task.ended_at
                yield self.verdict(task, cast(EventType, task.state), at, **task.why)

    def sweep(self, at: float, reason: str | None) -> Event:
        """Return an event which reports that all waiting tasks are cancelled.

        It names the job's own task, so that a client which does not know the field ``waiting``
        sees the job end.

        Args:
            at: seconds since the epoch.
            reason: why no worker runs them any more.
        """
        own = self._tasks.get(self.job) or TaskState(self.job, self.name)
        return self.verdict(own, "cancelled", at, waiting=True, reason=reason)

    def verdict(self, task: TaskState, kind: EventType, at: float, **data: object) -> Event:
        """Return an event by which a server reports the state of a task that sends no events.

        Args:
            task: task of this job.
            kind: ``stalled``, ``disturbed``, ``retrying``, or how the task ended.
            at: seconds since the epoch.
            data: more data of the event.
        """
        run, seq, tick = (max(0, number) for number in task.order)
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
        """Return the state of a task; None if no event of it came."""
        return self._tasks.get(task)

    def tasks(self) -> Iterable[TaskState]:
        """Return the states of all tasks."""
        return self._tasks.values()

    def newest_run(self) -> int:
        """Return the greatest number of an execution of its tasks; 0 before the first."""
        return max((task.order[0] for task in self._tasks.values()), default=0)

    def waiting(self) -> list[TaskState]:
        """Return the tasks that wait, or are to be tried again."""
        return list(self._tasks.waiting())

    def presumed_tasks(self) -> list[TaskState]:
        """Return the tasks that have a presumed state: a server has set it by a verdict."""
        if not self._tasks.count("presumed"):
            return []
        return [task for task in self._tasks.values() if task.presumed]

    def open_tasks(self) -> list[TaskState]:
        """Return the tasks that have not ended."""
        return [task for task in self._tasks.values() if not task.ended]

    @property
    def ended_at(self) -> float | None:
        """Seconds since the epoch at which the job ended; None while it has not."""
        if self._given.encoded is not None:
            return self._given.encoded["ended_at"]
        if not self.ended:
            return None
        if failure := self._failure():
            return failure["ended_at"]
        return max((task.ended_at or 0.0 for task in self._tasks.values()), default=None)

    def _outcome(self) -> Outcome:
        if failure := self._failure():
            return _reasons(failure)
        if self.state == "retrying":
            [first] = self._tasks.listed(1)
            return _reasons(first.why)
        if self.state == "cancelling":
            return {"reason": self._asked or None}
        return self._result if self.state == "succeeded" else NO_OUTCOME

    def _expected(self) -> tuple[QueuePlace | None, Expectation | None]:
        """Return the estimate: its queue while the job is queued, its expectation until it ends."""
        told = NO_ESTIMATE if self.ended else self._estimate
        queued = self.state == "queued"
        return told.get("queue") if queued else None, told.get("eta")

    def encode(self, most: int | None = None) -> SnapshotData:
        """Return the snapshot as the JSON object of the protocol.

        Args:
            most: maximum bytes of JSON, within which ``size_limit`` keeps it; default no limit.
                A snapshot that was decoded and not changed since is returned as it was.
        """
        if self._given.encoded is not None:
            return self._given.encoded
        fixed = self._fixed()
        room = SizeBudget(most, fixed)
        outcome, meta = room.outcome(self._outcome()), room.meta(self.meta)
        bars, tasks = room.bars(self.bars), room.tasks(self._listed())
        parts = {"meta": meta, "bars": bars, "tasks": tasks}
        return cast("SnapshotData", {**fixed, **outcome, **parts})

    def _fixed(self) -> SnapshotData:
        queue, eta = self._expected()
        return {
            "job": self.job,
            "name": self.name,
            "title": self.title,
            "owner": self.owner,
            "again_of": self.again_of,
            "state": cast("JobState", self.state),
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
            "saved": self.saved,
            "cancelling": self.cancelling,
            "stalled": self.stalled,
            "disturbed": self.disturbed,
            "queue": queue,
            "eta": eta,
            "dropped": self.dropped,
            "incomplete": self.incomplete,
            "source": "events",
        }

    @classmethod
    def decode(cls, data: SnapshotData, before: Snapshot | None = None) -> Snapshot:
        """Return a snapshot from an encoded one, to fold later events in, as a client does.

        Args:
            data: the encoded snapshot.
            before: the job's snapshot so far; its times are kept where ``data`` has none, since a
                server that was restarted may not have seen the first events.
        """
        if before is not None:
            data = _with_times(data, before)
        new = cls(data["job"])
        # A server of 0.1.0 sends null for an unfinished job that only the result backend knows.
        new.name, new.owner, new.at = data["name"], data["owner"], data["at"] or 0.0
        # Servers of 0.1.0 do not say these.
        new.title, new.again_of = data.get("title"), data.get("again_of")
        new.queued_at, new.started_at = data["queued_at"], data["started_at"]
        new.dropped, new.saved = data["dropped"], data.get("saved")
        new._tasks = TaskTable(TaskState.decode(task) for task in data["tasks"])
        new._total, new._more = data["planned"], data["spawned"]
        if data["cancelling"]:
            new._asked = (data["state"] == "cancelling" and data["reason"]) or ""
        new._estimate = {"queue": data["queue"], "eta": data["eta"]}
        new._disturbed = data.get("disturbed")  # servers of 0.1.0 do not say it
        if "result" in data:
            new._result = {"result": data["result"]}
        if "result_omitted" in data:
            new._result = {**new._result, "result_omitted": data["result_omitted"]}
        runs = (task.order[0] for task in new._tasks.values() if task.state == "succeeded")
        new._result_run = max(runs, default=-1)
        unlisted = max(0, data["done"] - new.done)
        failure: Failure = {
            "state": data["state"],
            "ended_at": data["ended_at"],
            "error": data["error"],
            "reason": data["reason"],
            "retry_at": data["retry_at"],
        }
        known = data["state"] in TERMINAL - {"succeeded"} and not new._is_of_listed(failure)
        new._given = Given(
            data,
            data["total"],
            unlisted,
            data["meta"],
            new.meta,
            failure if known else None,
            data["incomplete"] and not new.incomplete,
        )
        return new

    def _is_of_listed(self, failure: Failure) -> bool:
        """Whether a failure is that of a listed task."""
        first = self._tasks.first_failed()
        return first is not None and first.ended_at == failure["ended_at"]

    def _listed(self) -> list[TaskState]:
        """Return the tasks to list: unfinished ones, then failed ones, then succeeded ones."""
        return self._tasks.listed(MAX_TASKS)


def _result_of(told: Mapping[str, object]) -> Outcome:
    wanted = ("result", "result_omitted")
    return cast("Outcome", {key: told[key] for key in wanted if key in told})


def _with_times(data: SnapshotData, before: Snapshot) -> SnapshotData:
    data = data.copy()
    if data["queued_at"] is None:
        data["queued_at"] = before.queued_at
    if data["started_at"] is None:
        data["started_at"] = before.started_at
    return data


def _reasons(why: Why) -> Outcome:
    return {
        "error": why.get("error"),
        "reason": why.get("reason"),
        "retry_at": why.get("retry_at"),
    }
