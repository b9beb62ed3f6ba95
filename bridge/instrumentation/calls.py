"""``Call``: one ``apply_async`` call is one job, however many messages Celery publishes for it."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from celery.canvas import _chain as chain
from celery.canvas import _chord as chord
from celery.canvas import group

from bridge.instrumentation import canvas, outcomes
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings
from bridge.untyped import Signature

__all__ = ["Call", "calling", "connect", "current", "nothing_published"]

R = TypeVar("R")

#: Canvas classes, for which Celery may publish several messages in one ``apply_async`` call.
MANY = (group, chain, chord)


class Call:
    """One call that publishes tasks, and the job that the tasks form.

    Args:
        signature: the signature that is applied; None for a single task that is sent by name.
        job: id of the job; default the ``root_id`` of the first message.
    """

    def __init__(self, signature: Signature | None = None, job: str | None = None) -> None:
        self.job = job
        #: Messages published so far.
        self.published = 0
        lazy = canvas.lazy(signature)
        #: Whether tasks come from a generator, so that ``total`` grows while they are published.
        self.lazy = lazy is not None
        #: Number of tasks of the job; of a generator's tasks, those read so far.
        self.total = 1 if signature is None else canvas.size(signature, skip=lazy)
        if lazy is not None:
            # Celery reads one signature ahead of the one that it publishes, so ``total`` exceeds
            # the number of published tasks until the generator is exhausted.
            lazy.map(self._count)

    def _count(self, signature: Signature) -> Signature:
        self.total += canvas.size(signature)
        return signature

    def adopt(self, headers: JSONObject) -> None:
        """Make a message that is about to be published part of the job, by its ``root_id``.

        Celery gives each message of a group or a chord's header a root id of its own, unless the
        application has chosen one.
        """
        self.job = headers["root_id"] = self.job or headers["root_id"]


_current: ContextVar[Call | None] = ContextVar("taskbridge_call", default=None)


def current() -> Call | None:
    """Return the call that is publishing in this context; None if there is none."""
    return _current.get()


@contextlib.contextmanager
def calling(call: Call, name: str, owner: str | None, settings: Settings) -> Iterator[None]:
    """Make one job of all messages that are published inside the ``with`` block.

    If the block raises after some messages were published, the job ends as failed: the missing
    tasks will never run.

    Args:
        call: the call that the job belongs to.
        name: name of the task or canvas.
        owner: owner of the job; None for none.
        settings: broker and channel of the events.
    """
    token = _current.set(call)
    try:
        yield
    except Exception as error:
        if call.published and call.job:
            run = Run(job=call.job, task=str(uuid.uuid4()), name=name, owner=owner)
            emitter_for(settings).put(run, "failed", {"error": outcomes.error(error)})
        raise
    finally:
        _current.reset(token)


def nothing_published(
    job: str, name: str, owner: str | None, settings: Settings, webhook: str | None = None
) -> None:
    """Report the job of a call that published no message as succeeded.

    Celery's result of an empty group is an empty list, and is ready at once.

    Args:
        job: id of the job.
        name: name of the canvas.
        owner: owner of the job; None for none.
        settings: broker and channel of the event.
        webhook: endpoint to which the end is delivered; default None for none.
    """
    run = Run(job=job, task=job, name=name, owner=owner)
    told = {"webhook": webhook} if webhook else {}
    emitter_for(settings).put(run, "succeeded", {**outcomes.result([]), **told})


#: Returns the owner and the settings of a canvas that is applied in the calling context; None if
#: the canvas does not become a job of its own.
Asked = Callable[[], tuple[str | None, Settings] | None]


@functools.cache
def connect(asked: Asked) -> None:
    """Make each ``apply_async`` call of a canvas one job, unless ``asked`` returns None.

    Celery has no signal around ``apply_async``, so the method is wrapped in these classes.
    """
    for kind in MANY:
        kind.apply_async = _wrapped(kind.apply_async, asked)


def _wrapped(apply: Callable[..., R], asked: Asked) -> Callable[..., R]:
    @functools.wraps(apply)
    def apply_async(self: Signature, *args: object, **options: object) -> R:
        found = asked() if _current.get() is None else None
        if found is None:
            return apply(self, *args, **options)
        with calling(Call(self), self.task, *found):
            return apply(self, *args, **options)

    return apply_async
