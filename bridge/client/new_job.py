"""``NewJob``: a job that is being enqueued, whose tasks are published under its id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from bridge.bus.sharding import job_id
from bridge.protocol.event_checks import is_identifier
from bridge.protocol.json_types import JSONObject
from bridge.repeating.kept_call import Kept, KeptCall, kept, omitted
from bridge.settings import Settings
from bridge.untyped import CeleryApp, Signature

if TYPE_CHECKING:
    from bridge.instrumentation.calls import Call

__all__ = ["NewJob"]

#: Types of signatures that stand for several tasks.
SEVERAL = frozenset({"chain", "group", "chord", "chunks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is not published yet."""

    id: str
    owner: str | None
    #: Broker and channel of its events.
    settings: Settings
    #: Whether the arguments of its tasks are hidden from operators.
    redact: bool
    #: What the service calls it; None for no title.
    title: str | None = None
    #: Id of the job that it repeats; None for none.
    again_of: str | None = None
    #: Whether its task goes on from that job's checkpoint.
    resume: bool = False
    #: Endpoint to which the archive delivers its end; None for none.
    webhook: str | None = None

    @classmethod
    def of(
        cls,
        task: str | Signature,
        options: dict[str, object],
        *,
        owner: str | None,
        settings: Settings,
        redact: bool,
        title: str | None = None,
        again_of: str | None = None,
        webhook: str | None = None,
    ) -> NewJob:
        """Return a job with an id for a task or a signature.

        Args:
            task: name of a task, or a signature.
            options: Celery's options; a single task's ``task_id`` is removed, and becomes the id of
                the job.
            owner: owner of the job; None for none.
            settings: broker, channel and shards.
            redact: whether arguments are hidden from operators.
            title: what the service calls the job; default None for no title.
            again_of: id of the job that it repeats; default None for none.
            webhook: endpoint to which the archive delivers its end; default None for none.
        """
        # A frozen signature has a task id, which other signatures may refer to.
        frozen = None
        if isinstance(task, str) or task.get("subtask_type") not in SEVERAL:
            frozen = getattr(task, "options", {}).get("task_id")
            frozen = options.pop("task_id", frozen)
        job = job_id(owner, settings.shards, frozen if is_identifier(frozen) else None)
        return cls(
            id=job,
            owner=owner,
            settings=settings,
            redact=redact,
            title=title,
            again_of=again_of,
            webhook=webhook,
        )

    def send(
        self,
        app: CeleryApp,
        task: str | Signature,
        args: list[object],
        kwargs: JSONObject,
        options: dict[str, object],
    ) -> None:
        """Publish the messages of the job's tasks.

        Args:
            app: the Celery application to publish through.
            task: name of a task, or a signature.
            args: positional arguments.
            kwargs: keyword arguments.
            options: Celery's options.

        Raises:
            RecursionError: the signature is nested too deeply. A broker's library raises errors
                of its own.
        """
        if isinstance(task, str):
            self._send_name(app, task, args, kwargs, options)
        else:
            self._send_signature(app, task, args, kwargs, options)

    def _send_name(
        self,
        app: CeleryApp,
        name: str,
        args: list[object],
        kwargs: JSONObject,
        options: dict[str, object],
    ) -> None:
        from bridge.instrumentation.calls import Call

        ids = {"task_id": self.id, "root_id": self.id}
        kept_call: KeptCall = {"name": name, "args": args, "kwargs": kwargs}
        with self._publishing(Call(job=self.id), name, self._kept(kept_call, [name], options)):
            app.send_task(name, args, kwargs, **ids, add_to_parent=False, **options)

    def _send_signature(
        self,
        app: CeleryApp,
        signature: Signature,
        args: list[object],
        kwargs: JSONObject,
        options: dict[str, object],
    ) -> None:
        from celery.canvas import chunks

        from bridge.instrumentation.calls import Call, nothing_published
        from bridge.instrumentation.canvas import bound

        # Chunks are sent as the group that they expand to.
        grouped = signature.group() if isinstance(signature, chunks) else signature
        signature = bound(grouped, app)
        call = Call(signature, self.id)
        if call.total == 1 and not call.lazy:
            options = {**options, "task_id": self.id}
        kept_call = self._kept_signature(signature, call, args, kwargs, options)
        with self._publishing(call, signature.task, kept_call):
            signature.apply_async(args, kwargs, root_id=self.id, **options)
        if not call.published:
            name, owner = signature.task, self.owner
            nothing_published(self.id, name, owner, self.settings, self.webhook)

    def _kept_signature(
        self,
        signature: Signature,
        call: Call,
        args: list[object],
        kwargs: JSONObject,
        options: dict[str, object],
    ) -> Kept | None:
        from bridge.instrumentation.canvas import names, without_ids

        if not self.settings.kept_argument_bytes:
            return None
        if call.lazy:
            return omitted("generator")
        plain = cast("JSONObject", without_ids(signature))
        whole: KeptCall = {"signature": plain, "args": args, "kwargs": kwargs}
        return self._kept(whole, names(signature), {**signature.options, **options})

    def _kept(self, call: KeptCall, names: Iterable[str], options: JSONObject) -> Kept | None:
        """Return what travels of the call, for the archive."""
        if self.redact and self.settings.kept_argument_bytes:
            return omitted("redacted")
        if self.webhook:
            call = {**call, "webhook": self.webhook}
        return kept(call, names, options, self.settings)

    @contextlib.contextmanager
    def _publishing(self, call: Call, name: str, kept_call: Kept | None) -> Iterator[None]:
        from bridge.instrumentation.calls import calling
        from bridge.instrumentation.publish_signals import enqueuing

        context = self.owner, self.settings, self.redact, self.title, self.again_of, self.resume
        with (
            enqueuing(*context, call=kept_call, webhook=self.webhook),
            calling(call, name, self.owner, self.settings),
        ):
            yield
