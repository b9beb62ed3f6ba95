"""``Bridge``: what a service uses to enqueue, name, watch and cancel jobs."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bridge import forking, tokens
from bridge.bus.sharding import shard_of
from bridge.client.asynchronous.connections import Connections
from bridge.client.celery_app import away, broker_errors, new_app
from bridge.client.validation import check, check_push
from bridge.errors import BrokerUnavailable, EnqueueError, JobEnded, JobNotFound, SettingsError
from bridge.identifiers import check_identifier
from bridge.instrumentation import installed
from bridge.protocol.event import NAMESPACE, TERMINAL, room_of_job, room_of_owner
from bridge.protocol.json_types import SnapshotData
from bridge.repeating.reservation import key_of
from bridge.settings import Settings
from bridge.untyped import CeleryApp, Signature

if TYPE_CHECKING:
    from bridge.client.asynchronous.watcher import AsyncWatcher
    from bridge.client.watcher import Watcher

__all__ = ["ENDINGS", "Bridge", "Job"]

logger = logging.getLogger(__name__)

#: Phrases for the endings of a job in error messages; other states are used as they are.
ENDINGS = {"cancelled": "been cancelled", "lost": "been lost"}


@dataclass(frozen=True, slots=True)
class Job:
    """An enqueued job; a client needs its :attr:`id` and :attr:`token` to watch it."""

    id: str
    name: str
    owner: str | None
    bridge: Bridge = field(repr=False, compare=False)

    @property
    def token(self) -> str:
        """A token to watch and cancel this job alone, for 900 seconds.

        A server renews it for a client that watches the job, until the job is over or
        ``TASKBRIDGE_TOKEN_RENEWAL`` seconds have passed.

        Raises:
            SettingsError: there is no secret.
        """
        return self.bridge.token(jobs=[self.id], scope="watch cancel")

    async def result(self, timeout: float | None = None) -> Any:
        """Wait in an event loop for the job's end, and return its result.

        Args:
            timeout: seconds after which to give up; default never. The job goes on.

        Returns:
            The result, as JSON has it; None if the job ended without one.

        Raises:
            JobFailed: the job has failed, was cancelled or was lost.
            TimeoutError: it has not ended in time.
            ResultsUnavailable: its result is no JSON or too large, or no server knows the job and
                the result backend does not answer.
            ServerUnavailable, JobNotFound, TokenError, SettingsError: it cannot be watched.
        """
        from bridge.client import outcome

        return outcome.result(await self.bridge._final_async(self.id, timeout))

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the job's end, and return its result: :meth:`result` without an event loop.

        Args:
            timeout: seconds after which to give up; default never. The job goes on.

        Returns:
            The result, as JSON has it; None if the job ended without one.

        Raises:
            (as :meth:`result`) JobFailed, TimeoutError, ResultsUnavailable and others.
        """
        from bridge.client import outcome

        return outcome.result(self.bridge._final(self.id, timeout))


class Bridge:
    """A service's side of taskbridge. Cheap to make, safe to share between threads.

    Args:
        broker_url: URL of the broker; default ``TASKBRIDGE_BROKER_URL``.
        secret: key that signs tokens, or several separated by commas; default
            ``TASKBRIDGE_SECRET``.
        app: Celery application to enqueue through and read results with; default one of its own.
            Where neither an argument nor the environment names a broker, or a result backend, those
            of ``app`` are used, and without ``app`` those of an application that was installed in
            this process.
        settings: settings to use instead of the environment; the other arguments override them.

    Raises:
        SettingsError: a setting cannot work, or an argument is of another type.
    """

    def __init__(
        self,
        broker_url: str | None = None,
        *,
        secret: str | None = None,
        app: CeleryApp | None = None,
        settings: Settings | None = None,
    ) -> None:
        for name, text in (("broker_url", broker_url), ("secret", secret)):
            if not isinstance(text, str | None):
                raise SettingsError(f"{name} must be a string, not {type(text).__name__}")
        if app is not None:
            installed.check_application(app)
        given = {"TASKBRIDGE_BROKER_URL": broker_url or "", "TASKBRIDGE_SECRET": secret or ""}
        explicit = Settings.from_environ(given)
        self._is_explicit = settings is not None
        settings = settings or Settings.from_environ()
        if broker_url:
            settings = settings.replace(broker_url=explicit.broker_url)
        if secret:
            settings = settings.replace(secret=explicit.secret)
        self._given = settings
        self._settings: Settings | None = None
        self._app = app
        #: Celery applications that this bridge has made, by the URL of the result backend, and
        #: the id of the process that made them.
        self._apps: dict[str, CeleryApp] = {}
        self._pid = os.getpid()
        self._connections = Connections(self)
        forking.install()

    @property
    def settings(self) -> Settings:
        """The settings, with the application's broker and result backend where they name none."""
        # At the first use: the application may be configured after this object is made.
        if self._settings is None:
            self._settings = self._complete()
        return self._settings

    def _complete(self) -> Settings:
        if self._app is not None:
            from bridge.bus.app_broker import settings_with_app

            return settings_with_app(self._given, self._app).settings
        return self._given if self._is_explicit else installed.with_application(self._given)

    @property
    def app(self) -> CeleryApp:
        """The Celery application that sends canvases and reads results."""
        return self._app or self._own(self.settings.results)

    @property
    def sender(self) -> CeleryApp:
        """The Celery application that sends tasks by name: it needs no result backend's driver."""
        return self._app or self._own("disabled://")

    def _own(self, results: str) -> CeleryApp:
        """Return an application of this process: one made before a fork may be locked for ever."""
        if self._pid != os.getpid():
            self._apps, self._pid = {}, os.getpid()
        # Without a lock: a fork could leave it locked, too.
        return self._apps.get(results) or self._apps.setdefault(
            results, new_app(self.settings, results)
        )

    def enqueue(
        self,
        task: str | Signature,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        owner: str | None = None,
        title: str | None = None,
        redact: bool = False,
        idempotency_key: str | None = None,
        webhook: str | None = None,
        **options: object,
    ) -> Job:
        """Enqueue a job.

        Args:
            task: a task's name, or any Celery signature (chain, group and chord included).
            args: positional arguments; JSON.
            kwargs: keyword arguments; JSON.
            owner: owner of the job: a string of 1 to 255 characters, without control characters.
            title: what people see in place of the task's name: a string of 1 to 255 characters,
                without control characters. Default the name; a canvas has that of its first task.
            redact: whether its arguments are hidden from operators: Flower and other readers of
                Celery's events see ``<redacted>``. The message at the broker still has them.
            idempotency_key: a string of 1 to 255 characters, without control characters. For
                ``TASKBRIDGE_IDEMPOTENCY_RETENTION`` seconds, by default a day, calls with the same
                key and owner return the same job, which is enqueued once; the task and its
                arguments must be the same. Such a call waits for the store of the keys for two
                seconds at most, and for another call that is under way for 20. Default none.
            webhook: endpoint to which the archive delivers the job's end, by its name in the
                archive's ``TASKBRIDGE_WEBHOOKS``: at most 63 letters, digits, _ and -. Default None
                for none.
            options: Celery's own, such as ``queue``, ``countdown``, ``priority``.

        Raises:
            EnqueueError: the name or the arguments cannot be used: they are not JSON, nested more
                than 100 levels deep, more than 1,000, or larger than
                ``TASKBRIDGE_ARGUMENT_BYTES``. Or the key was used for other arguments, or no
                backend can store it.
            BrokerUnavailable: no broker answers.
            QueueUnavailable: the queue does not exist, or is full.
            ResultsUnavailable: the store of idempotency keys does not answer.
        """
        from bridge.client.new_job import NewJob
        from bridge.client.sending import Call, send, send_once

        check(task, args, kwargs, owner, self.settings.argument_bytes, title, webhook)
        job = NewJob.of(
            task,
            options,
            owner=owner,
            settings=self.settings,
            redact=redact,
            title=title,
            webhook=webhook,
        )
        call = Call(task, list(args or ()), dict(kwargs or {}), options)
        if idempotency_key is None:
            send(self, job, call)
        else:
            check_identifier(idempotency_key, "an idempotency key", EnqueueError)
            job = send_once(self, job, call, key_of("enqueue", owner, idempotency_key))
        return Job(job.id, call.name, owner, self)

    def preload(self) -> None:
        """Import what the first calls need, so that a server's first clients do not wait for it.

        A first read of the result backend is started, and not waited for.
        """
        from bridge.cancelling.cancel_mark import is_stored
        from bridge.instrumentation import publish_signals  # noqa: F401
        from bridge.results.bounded_calls import bounded_calls_for

        _ = self.sender.backend
        app = self.app
        bounded_calls_for(app).begin(lambda: is_stored(app.backend, "none"))

    def close(self) -> None:
        """Send pending events and close this process's connections, which reopen when used.

        A service that runs until it is killed need not call it.
        """
        from bridge.sending.process_emitters import close

        close(self.settings)
        apps, self._apps = self._apps, {}
        if self._pid == os.getpid():
            for app in apps.values():
                app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def owner(self, owner: str) -> AbstractContextManager[None]:
        """Track tasks that ``.delay()`` and ``.apply_async()`` enqueue inside the ``with`` block.

        Raises:
            EnqueueError: the owner is not a string of 1 to 255 characters, without control
                characters.
        """
        from bridge.instrumentation.publish_signals import enqueuing

        check_identifier(owner, "an owner", EnqueueError)
        return enqueuing(owner, self.settings)

    def token(
        self,
        *,
        owner: str | None = None,
        jobs: Iterable[str] = (),
        scope: str | Iterable[str] = "watch",
        ttl: float = tokens.DEFAULT_TTL,
        shard: int | None = None,
    ) -> str:
        """Return a token for a client.

        Args:
            owner: owner whose jobs it allows, all of them.
            jobs: ids of single jobs that it allows.
            scope: any of ``watch``, ``cancel``, ``enqueue``, ``operate``, separated by
                spaces, or a list.
            ttl: seconds until it expires; default 900. A server renews a token that names one job
                and has no other scope than ``watch`` and ``cancel``; see :attr:`Job.token`.
            shard: shard of the jobs, if ``TASKBRIDGE_SHARDS`` is more than 1. Default that of the
                owner, else of the ids, which is right for ids that :meth:`enqueue` has made; for
                others, see :meth:`shard`.

        Raises:
            SettingsError: there is no secret, or an argument cannot work: an owner and an id are
                strings of 1 to 255 characters, without control characters.
        """
        jobs = tokens.named(owner, jobs)
        return tokens.sign(
            self.settings.keys,
            owner=owner,
            jobs=jobs,
            scope=scope,
            ttl=ttl,
            audience=self.settings.token_audience,
            issuer=self.settings.token_issuer,
            shard=self._shard(owner, jobs) if shard is None else shard,
        )

    def shard(self, owner: str) -> int:
        """Return the shard of an owner's jobs, counted from 0.

        Raises:
            SettingsError: the owner is not a string of 1 to 255 characters, without control
                characters.
        """
        check_identifier(owner, "an owner", SettingsError)
        return shard_of(owner, self.settings.shards)

    def _shard(self, owner: str | None, jobs: list[str]) -> int | None:
        if (shards := self.settings.shards) == 1:
            return None
        found = {shard_of(key, shards) for key in ([owner] if owner else jobs)}
        if len(found) > 1:
            raise SettingsError("a token's jobs must be of one shard: make one for each")
        return found.pop() if found else None

    def status(self, job: str) -> SnapshotData:
        """Return the job's snapshot from the socket server, else from the result backend.

        Raises:
            JobNotFound: neither knows the job.
            ServerUnavailable: no server answers, and no result is stored.
            ResultsUnavailable: no server knows the job, and the result backend does not answer.
            SettingsError: there is no secret.
        """
        from bridge.client.status import status

        return status(self, job)

    def watch(
        self, job: str, *, timeout: float | None = None, cursor: str | None = None
    ) -> Watcher:
        """Return an iterator over the job's events, from its beginning to its end.

        Args:
            job: id of the job.
            timeout: seconds without a connection after which to give up; default never.
            cursor: cursor of an earlier watcher, to resume from; default the beginning.

        Raises:
            JobNotFound: ``job`` is not a valid id.
            (when iterated) ServerUnavailable, ResultsUnavailable, JobNotFound, TokenError.
        """
        return self._watcher(job, timeout=timeout, cursor=cursor)

    def _watcher(
        self,
        job: str,
        *,
        timeout: float | None,
        cursor: str | None = None,
        limit: float | None = None,
    ) -> Watcher:
        from bridge.client.status import shard_of_job
        from bridge.client.watcher import Watcher

        shard = shard_of_job(self, job)
        url = self.settings.url_of(shard)
        # A callable: the watcher renews the token, which need not live as long as a job may.
        token = lambda: self.token(jobs=[job], shard=shard)  # noqa: E731
        path = self.settings.socket_path
        return Watcher(url, token, job, timeout=timeout, cursor=cursor, path=path, limit=limit)

    def awatch(
        self, job: str, *, timeout: float | None = None, cursor: str | None = None
    ) -> AsyncWatcher:
        """Return an iterator for ``async for`` over the job's events; see :meth:`watch`.

        Watches of an event loop share connections, a hundred jobs one. Needs the extra
        ``asyncio``.

        Args:
            job: id of the job.
            timeout: seconds without a connection after which to give up; default never.
            cursor: cursor of an earlier watcher, to resume from; default the beginning.

        Raises:
            JobNotFound: ``job`` is not a valid id.
            (when iterated) ServerUnavailable, ResultsUnavailable, JobNotFound, TokenError,
                SettingsError.
        """
        from bridge.client.asynchronous.watcher import AsyncWatcher

        check_identifier(job, "a job's id", JobNotFound)
        return AsyncWatcher(self._connections, job, timeout=timeout, cursor=cursor)

    def _final(self, job: str, timeout: float | None) -> SnapshotData:
        from bridge.client.outcome import final

        return final(self._watcher(job, timeout=timeout, limit=timeout), timeout)

    async def _final_async(self, job: str, timeout: float | None) -> SnapshotData:
        from bridge.client.outcome import final_async

        return await final_async(self.awatch(job), timeout)

    async def aenqueue(
        self,
        task: str | Signature,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        owner: str | None = None,
        title: str | None = None,
        redact: bool = False,
        idempotency_key: str | None = None,
        webhook: str | None = None,
        **options: object,
    ) -> Job:
        """Do what :meth:`enqueue` does in a thread, so that no event loop waits for the broker.

        A caller that is cancelled meanwhile does not know whether the job was enqueued.

        Args:
            task: as for :meth:`enqueue`, as all other arguments are.
            args: positional arguments; JSON.
            kwargs: keyword arguments; JSON.
            owner: owner of the job.
            title: what people see in place of the task's name.
            redact: whether its arguments are hidden from operators.
            idempotency_key: calls with the same key and owner return the same job; default none.
            webhook: endpoint to which the archive delivers its end.
            options: Celery's own, such as ``queue``, ``countdown``, ``priority``.

        Raises:
            EnqueueError, BrokerUnavailable, QueueUnavailable, ResultsUnavailable: as
                :meth:`enqueue` does.
        """
        from bridge.client.asynchronous.threads import in_thread

        def call() -> Job:
            return self.enqueue(
                task,
                args,
                kwargs,
                owner=owner,
                title=title,
                redact=redact,
                idempotency_key=idempotency_key,
                webhook=webhook,
                **options,
            )

        return await in_thread(call)

    async def acancel(self, job: str) -> str:
        """Do what :meth:`cancel` does in a thread, so that no event loop waits for it.

        Args:
            job: id of the job.

        Returns:
            The job's state before; see :meth:`cancel`.

        Raises:
            JobNotFound, JobEnded, BrokerUnavailable, SettingsError: as :meth:`cancel` does.
        """
        from bridge.client.asynchronous.threads import in_thread

        return await in_thread(self.cancel, job)

    def cancel(self, job: str) -> str:
        """Ask all workers to stop all tasks of a job; watchers see ``cancelling`` at once.

        Waiting tasks are not run any more. A running task gets ``JobCancelled`` at its next bar or
        ``job`` call, and is terminated after ``TASKBRIDGE_CANCEL_GRACE`` seconds.

        Returns:
            The job's state before: ``cancelling`` if it was cancelled already, ``queued`` also if
            no server answers and no result is stored.

        Raises:
            JobNotFound: the server does not know the job.
            JobEnded: the job has ended.
            BrokerUnavailable: no broker answers.
            SettingsError: there is no secret.
        """
        from bridge.client.status import state_of

        state, owner = state_of(self, job)
        if state in TERMINAL:
            raise JobEnded(f"the job has already {ENDINGS.get(state, state)}")
        self.request_cancel(job, owner)
        return state

    def request_cancel(self, job: str, owner: str | None = None) -> None:
        """Do what :meth:`cancel` does, without checking that the job exists.

        The broadcast to workers does not wait for the result backend, which delays the return by
        two seconds at most.

        Args:
            job: id of the job.
            owner: owner of the job; None if unknown.

        Raises:
            BrokerUnavailable: no broker answers.
            JobNotFound: ``job`` is not a valid id.
        """
        check_identifier(job, "a job's id", JobNotFound)
        from bridge.cancelling import cancel_request
        from bridge.reporting.run import Run
        from bridge.sending.process_emitters import emitter_for

        run = Run(job=job, task=job, name="", owner=owner, begun=0)
        emitter_for(self.settings).put(run, "cancelling")
        with cancel_request.marking(lambda: self.app, job):
            try:
                cancel_request.broadcast(self.sender, job)
            except broker_errors() as error:
                raise BrokerUnavailable(away(self.settings, error)) from error

    def push(
        self,
        event: str,
        data: object = None,
        *,
        owner: str | None = None,
        job: str | None = None,
        room: str | None = None,
        everyone: bool = False,
        namespace: str = "/",
        skip: str | None = None,
    ) -> None:
        """Send an application's own event, without waiting for the broker.

        Args:
            event: name of the event; not one that the protocol uses.
            data: JSON, 64 KiB at most.
            owner: send it to clients that see this owner's jobs (namespace ``/jobs``).
            job: send it to clients that watch this job (namespace ``/jobs``).
            room: send it to a room of the application's own namespace.
            everyone: send it to all clients of that namespace.
            namespace: the application's namespace, for ``room`` and ``everyone``; default ``/``.
            skip: id (``sid``) of a connection to the namespace that does not get it, usually that
                of the client that caused it.

        Raises:
            EnqueueError: not exactly one destination is given, or the event cannot be sent.
        """
        from bridge.sending.outbox import Push
        from bridge.sending.process_emitters import emitter_for

        given = {"owner": owner, "job": job, "room": room, "everyone": everyone or None}
        check_push(event, data, given)
        ours = room_of_owner(owner) if owner else room_of_job(job) if job else None
        shard = self.shard(owner) if owner else None
        where = NAMESPACE if ours else namespace
        # A publish that gets no confirm is repeated; servers recognise the copies by the id.
        push = Push(event, data, where, ours or room, shard, skip, uuid.uuid4().hex)
        emitter_for(self.settings).push(push)
