"""``ArchivedJob``: one job as the archive folds it, and its rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from bridge.protocol.event import Event
from bridge.protocol.json_types import JSONObject, SnapshotData, TaskData
from bridge.protocol.snapshot import Snapshot
from socket_server.archive.entries import NO_ORDER, Entry, entries_of, lines_in, missing_before
from socket_server.archive.finding.kept import kept, unkept
from socket_server.archive.job_words import JobWords
from socket_server.archive.schema import Row
from socket_server.archive.webhooks.payload import delivery_row
from socket_server.journal.executions import Execution
from socket_server.journal.job_record import JobRecord
from socket_server.journal.snapshot_texts import MAX_SNAPSHOT
from socket_server.messages.strict_json import encode

__all__ = ["ArchivedJob"]

#: Maximum characters of JSON of one row of lines, beyond which another is begun.
MAX_PART = 64 * 1024


class ArchivedJob:
    """A job, folded from its events, and what of it is to be written.

    Args:
        job: id of the job.
    """

    __slots__ = ("_call", "_entries", "_tasks", "_words", "at", "bytes", "events", "lines",
                 "missed", "parts", "record", "reported", "webhook")  # fmt: skip

    def __init__(self, job: str) -> None:
        self.record = JobRecord(job)
        self.at = 0.0
        self.events = self.lines = self.bytes = self.parts = 0
        #: Whether events may have been missed while it was unfinished.
        self.missed = False
        #: Webhook to which its end is delivered, as the tables have it, and the end of which a
        #: delivery is queued, until the job goes on.
        self.webhook: str | None = None
        self.reported: str | None = None
        self._words = JobWords()
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._tasks: dict[str, None] = {}
        self._entries: list[Entry] = []
        #: The call by which it was enqueued, if that came since the job was written.
        self._call: JSONObject | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The job's current state."""
        return self.record.snapshot

    @classmethod
    def load(cls, row: Row, tasks: Iterable[Row]) -> ArchivedJob:
        """Return a job as it was written.

        Args:
            row: its row.
            tasks: rows of all of its tasks.
        """
        data = json.loads(row["snapshot"])
        new, rows = cls(data["job"]), list(tasks)
        bodies: list[TaskData] = [json.loads(one["body"]) for one in rows]
        new.record.snapshot = Snapshot.decode(cast("SnapshotData", {**data, "tasks": bodies}))
        runs = json.loads(row["runs"])
        new.record.runs.update({task: _execution(one) for task, one in runs["tasks"].items()})
        new.record.runs.ended = runs["ended"]
        for body, one in zip(bodies, rows, strict=True):
            new._restore_times(body["task"], one)
        new.at, new.missed, new.parts = row["at"], row["missed"], row["parts"]
        new.events, new.lines, new.bytes = row["events"], row["lines"], row["bytes"]
        new.webhook, new.reported = row["webhook"], row["reported"]
        return new

    def _restore_times(self, task: str, row: Row) -> None:
        state = self.snapshot.task(task)
        assert state is not None, "it was decoded"
        state.queued_at, state.started_at = row["queued_at"], row["started_at"]
        state.parent = None if row["parent"] is None else unkept(row["parent"])

    def fold(self, event: Event) -> bool:
        """Fold an event in; return False if it was a duplicate or stale, and changed nothing."""
        if event.type == "queued":
            self._call = event.notes.get("call") or self._call
        if self.webhook is None and (webhook := event.notes.get("webhook")):
            self.webhook = kept(webhook)
        task = self.snapshot.task(event.task)
        before = NO_ORDER if task is None else task.order
        queued_at = None if task is None else task.queued_at
        if (numbered := self.record.fold(event)) is None:
            return task is not None and task.queued_at != queued_at and self._queued_late(event)
        self.events += 1
        self.at = self.snapshot.queued_at or self.at or event.at
        if self.reported and not self.snapshot.ended:
            self.reported = None
        if event.type != "cancelling":
            self._tasks[event.task] = None
        self._entries += entries_of(event, missing_before(numbered, before))
        return True

    def lose(self, at: float, reason: str) -> None:
        """End the tasks that run as lost, as a server does; a later event overturns that.

        Args:
            at: seconds since the epoch.
            reason: why they count as lost.
        """
        for task in self.snapshot.open_tasks():
            if task.state == "running":
                self.record.fold(self.snapshot.verdict(task, "lost", at, reason=reason))
                self._tasks[task.task] = None

    def _queued_late(self, event: Event) -> bool:
        """Count a ``queued`` event that comes after the task has started, for its time."""
        self._tasks[event.task] = None
        self.at = self.snapshot.queued_at or self.at
        self.events += 1
        return True

    def rows(self, channel: str, now: float) -> tuple[Row, *tuple[list[Row], ...]]:
        """Return the rows of the job, its changed tasks, new lines and words, call and deliveries.

        Args:
            channel: channel of its events.
            now: seconds since the epoch.
        """
        snapshot = self.snapshot
        told = snapshot.encode(MAX_SNAPSHOT)
        words = self._words.rows(snapshot, self._tasks, self._entries)
        tasks, lines, calls = self._task_rows(), self._line_rows(), self._call_rows()
        deliveries = self._delivery_rows(told, channel, now)
        row = {
            "job": kept(snapshot.job),
            "channel": channel,
            "owner": None if snapshot.owner is None else kept(snapshot.owner),
            "name": kept(snapshot.name),
            "state": snapshot.state,
            "at": self.at,
            "heard": now,
            "events": self.events,
            "lines": self.lines,
            "bytes": self.bytes,
            "parts": self.parts,
            "missed": self.missed,
            "snapshot": encode(told),
            "runs": self._runs(),
            "webhook": self.webhook,
            "reported": self.reported,
        }
        self._forget_changes()
        return row, tasks, lines, words, calls, deliveries

    def _delivery_rows(self, told: SnapshotData, channel: str, now: float) -> list[Row]:
        """Return the delivery of its end, once for each end."""
        if self.webhook is None or not self.snapshot.ended:
            return []
        before, self.reported = self.reported, told["state"]
        if before == self.reported:
            return []
        return [delivery_row(told, self.webhook, channel, now, (self.at, self.events))]

    def _runs(self) -> str:
        runs = self.record.runs
        return encode({"tasks": {task: list(one) for task, one in runs.items()},
                       "ended": runs.ended})  # fmt: skip

    def _task_rows(self) -> list[Row]:
        job = kept(self.snapshot.job)
        return [self._task_row(job, task) for task in self._tasks]

    def _task_row(self, job: str, task: str) -> Row:
        state = self.snapshot.task(task)
        assert state is not None, "a task with an event is known"
        return {
            "job": job,
            "task": kept(task),
            "parent": None if state.parent is None else kept(state.parent),
            "name": kept(state.name),
            "state": state.state,
            "queued_at": state.queued_at,
            "started_at": state.started_at,
            "ended_at": state.ended_at,
            "body": encode(state.encode()),
        }

    def _call_rows(self) -> list[Row]:
        if self._call is None:
            return []
        body = encode(self._call)
        self.bytes += len(body)
        return [{"job": kept(self.snapshot.job), "body": body}]

    def _line_rows(self) -> list[Row]:
        job, rows = kept(self.snapshot.job), []
        for body in _parts(self._entries):
            rows.append({"job": job, "part": self.parts, "body": body})
            self.parts += 1
            self.bytes += len(body)
        self.lines += lines_in(self._entries)
        return rows


def _parts(entries: list[Entry]) -> Iterator[str]:
    """Yield entries as JSON lists of about ``MAX_PART`` characters."""
    texts: list[str] = []
    size = 0
    for text in map(encode, entries):
        if texts and size + len(text) > MAX_PART:
            yield f"[{','.join(texts)}]"
            texts, size = [], 0
        texts.append(text)
        size += len(text)
    if texts:
        yield f"[{','.join(texts)}]"


def _execution(fields: list[Any]) -> Execution:
    *numbers, past = fields
    return Execution._make([*numbers, tuple(past)])
