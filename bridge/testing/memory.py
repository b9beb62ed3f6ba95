"""``MemoryBridge``: a bridge that runs enqueued tasks at once, in the calling thread."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bridge.client.bridge import ENDINGS, Bridge, Job
from bridge.client.status import IN_CELERY
from bridge.client.validation import check, check_push
from bridge.errors import EnqueueError, JobCancelled, JobEnded, JobNotFound
from bridge.identifiers import check_identifier
from bridge.protocol.event import Event, EventType
from bridge.protocol.json_types import JobEvent, JSONObject, SnapshotData
from bridge.protocol.snapshot import Snapshot
from bridge.settings import Settings
from bridge.testing.recorder import Reported, failure, recording
from bridge.untyped import CeleryApp, CeleryResult, CeleryTask, Signature

__all__ = ["MemoryBridge", "Pushed"]

#: Key of the tokens of tests, which no server ever sees.
SECRET = "of bridge.testing, for tokens that no server sees"


class Pushed(NamedTuple):
    """Arguments of one call of ``push``."""

    event: str
    data: Any
    destination: JSONObject


class MemoryBridge(Bridge):
    """Replaces a :class:`bridge.Bridge` in tests: its methods, without any other process.

    Tasks run eagerly, as with Celery's ``apply``; a job has ended when ``enqueue`` returns.

    Args:
        app: the Celery application whose tasks are found by their names; default the current one.
    """

    def __init__(self, app: CeleryApp | None = None) -> None:
        super().__init__(app=app, settings=Settings(secret=(SECRET,)))
        #: Recorded jobs by id, in the order in which they were enqueued.
        self.jobs: dict[str, Reported] = {}
        #: Recorded calls of :meth:`push`.
        self.pushed: list[Pushed] = []
        self._snapshots: dict[str, Snapshot] = {}

    @property
    def app(self) -> CeleryApp:
        """The Celery application."""
        from celery import current_app

        return self._app or current_app

    def enqueue(
        self,
        task: str | Signature,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        owner: str | None = None,
        title: str | None = None,
        redact: bool = False,
        webhook: str | None = None,
        **options: object,
    ) -> Job:
        """Run a job, and return it; see :meth:`bridge.Bridge.enqueue`.

        Raises:
            EnqueueError: the application has no such task, or the arguments cannot be used.
        """
        check(task, args, kwargs, owner, self.settings.argument_bytes, title, webhook)
        signature = self._signature(task, args, kwargs)
        with recording(owner=owner, name=signature.task) as reported:
            self.jobs[reported.job] = reported
            reported.end(*_outcome(signature, options))
        snapshot = self._snapshots[reported.job] = Snapshot(reported.job)
        for event in reported.events:
            snapshot.apply(Event.decode(event))
        snapshot.title = title
        return Job(reported.job, signature.task, owner, self)

    def _signature(
        self,
        task: str | Signature,
        args: Sequence[object] | None,
        kwargs: Mapping[str, object] | None,
    ) -> Signature:
        if not isinstance(task, str):
            return task
        if task not in self.app.tasks:
            raise EnqueueError(f"there is no task {task} in {self.app.main}: is it imported?")
        return self.app.tasks[task].s(*(args or ()), **(kwargs or {}))

    @contextlib.contextmanager
    def owner(self, owner: str) -> Iterator[None]:
        """Run tasks that ``.delay()`` enqueues inside the ``with`` block as jobs of this owner."""
        check_identifier(owner, "an owner", EnqueueError)
        from celery.app.task import Task
        from celery.result import EagerResult

        original = Task.apply_async

        def apply_async(
            task: CeleryTask,
            args: Iterable[object] | None = None,
            kwargs: Mapping[str, object] | None = None,
            **_: object,
        ) -> CeleryResult:
            job = self.enqueue(task.s(*(args or ()), **(kwargs or {})), owner=owner)
            told = self.status(job.id)
            return EagerResult(job.id, told.get("result"), IN_CELERY[told["state"]])

        Task.apply_async = apply_async
        try:
            yield
        finally:
            Task.apply_async = original

    def status(self, job: str) -> SnapshotData:
        """Return a job's snapshot.

        Raises:
            JobNotFound: it was not enqueued here.
        """
        check_identifier(job, "a job's id", JobNotFound)
        if job not in self._snapshots:
            raise JobNotFound(f"no job {job} was enqueued on this bridge")
        return self._snapshots[job].encode()

    def watch(self, job: str, **_: object) -> Iterator[JobEvent]:  # type: ignore[override]  # no Watcher
        """Return an iterator over a job's events.

        Raises:
            JobNotFound: it was not enqueued here.
        """
        self.status(job)
        return iter(self.jobs[job].events)

    def awatch(self, job: str, **_: object) -> AsyncIterator[JobEvent]:  # type: ignore[override]  # no AsyncWatcher
        """Return an iterator for ``async for`` over a job's events.

        Raises:
            JobNotFound: it was not enqueued here.
        """
        events = self.watch(job)

        async def each() -> AsyncIterator[JobEvent]:
            for event in events:
                yield event

        return each()

    def _final(self, job: str, timeout: float | None) -> SnapshotData:
        return self.status(job)

    async def _final_async(self, job: str, timeout: float | None) -> SnapshotData:
        return self.status(job)

    def cancel(self, job: str) -> str:
        """Always raise: a job has ended when ``enqueue`` returns.

        A recorded job is cancelled with :meth:`Reported.cancel`.

        Raises:
            JobNotFound: it was not enqueued here.
            JobEnded: it was enqueued here.
        """
        state = self.status(job)["state"]
        raise JobEnded(f"the job has already {ENDINGS.get(state, state)}")

    def push(self, event: str, data: object = None, **destination: object) -> None:
        """Record an application's own event; see :meth:`bridge.Bridge.push`.

        Raises:
            EnqueueError: as :meth:`bridge.Bridge.push` does.
        """
        given = {name: value for name, value in destination.items() if value}
        beside = ("namespace", "skip")
        check_push(event, data, {name: one for name, one in given.items() if name not in beside})
        self.pushed.append(Pushed(event, data, given))


def _outcome(signature: Signature, options: JSONObject) -> tuple[EventType, JSONObject]:
    """Run a canvas, and return type and data of its job's last event."""
    try:
        result = signature.apply(**options)
    except JobCancelled as error:  # no task of Celery's catches it
        return failure(error)
    if result.successful():
        return "succeeded", {"result": result.get(disable_sync_subtasks=False)}
    results = [result, *getattr(result, "results", ())]
    errors = [one.result for one in results if getattr(one, "state", "") == "FAILURE"]
    return failure(errors[0] if errors else None)
