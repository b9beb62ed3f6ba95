"""Publishing the messages of a job: ``send``, and ``send_once`` for a job with an idempotency key.

``send_again`` is ``send_once`` with a call that the archive has kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from bridge.client.celery_app import away, broker_errors
from bridge.client.new_job import NewJob
from bridge.client.status import read_result
from bridge.client.validation import check
from bridge.errors import BrokerUnavailable, EnqueueError, TaskbridgeError
from bridge.protocol.json_types import JSONObject
from bridge.repeating.kept_call import KeptCall
from bridge.repeating.once import OTHER, PATIENCE, Asked, Once
from bridge.repeating.reservation import Reservation, digest_of
from bridge.settings import Settings
from bridge.untyped import CeleryApp, Signature

__all__ = ["Call", "Service", "published", "reserved_at", "send", "send_again", "send_once"]


class Service(Protocol):
    """The part of :class:`bridge.Bridge` that this module needs."""

    @property
    def settings(self) -> Settings:
        """Broker, channel, shards, and where keys are stored."""

    @property
    def app(self) -> CeleryApp:
        """The Celery application that sends canvases."""

    @property
    def sender(self) -> CeleryApp:
        """The Celery application that sends tasks by name."""


class Call(NamedTuple):
    """A call of a task: its name or a signature, its arguments, and Celery's options."""

    task: str | Signature
    args: list[object]
    kwargs: JSONObject
    options: JSONObject

    @property
    def name(self) -> str:
        """Name of the task; of a canvas, of the canvas."""
        return self.task if isinstance(self.task, str) else str(self.task.task)

    def digest(self) -> str:
        """Return the hash of the task and its arguments.

        Raises:
            EnqueueError: its tasks come from a generator, which can be read only once.
        """
        if isinstance(self.task, str):
            return digest_of(self.task, self.args, self.kwargs)
        from bridge.instrumentation.canvas import lazy, without_ids

        if lazy(self.task) is not None:
            raise EnqueueError(
                "a canvas over a generator cannot have an idempotency key: make a list of its tasks"
            )
        return digest_of(without_ids(self.task), self.args, self.kwargs)


def send(bridge: Service, job: NewJob, call: Call) -> None:
    """Publish the messages of a job's tasks.

    Raises:
        EnqueueError: the signature is nested too deeply.
        BrokerUnavailable: no broker answers.
        QueueUnavailable: the queue does not exist, or is full.
    """
    from bridge.bus.confirms import refusal

    # Only a canvas needs the application with the result backend.
    app = bridge.sender if isinstance(call.task, str) else bridge.app
    try:
        job.send(app, call.task, call.args, call.kwargs, dict(call.options))
    except broker_errors() as error:
        if refused := refusal(error):
            raise refused from error
        raise BrokerUnavailable(away(bridge.settings, error)) from error
    except RecursionError:
        raise EnqueueError("the signature is nested too deeply for Celery") from None


def send_once(
    bridge: Service,
    job: NewJob,
    call: Call,
    key: str,
    *,
    known: Callable[[str], bool] = lambda job: False,
    patience: float = PATIENCE,
) -> NewJob:
    """Publish a job, unless that was done for the same key; return the job with its id.

    Args:
        bridge: settings and applications.
        job: the job, with the id that it gets if the key has none.
        call: its task and arguments.
        key: key of the reservation; see ``reservation.key_of``.
        known: returns whether a job is known to be published, beside by its result; default not.
        patience: seconds to wait for another process that publishes the same job; default 20.

    Raises:
        EnqueueError: the key was used for another call, or no backend can store it.
        ResultsUnavailable: the store of the keys does not answer.
        BrokerUnavailable, QueueUnavailable: as :func:`send` does, or another process is publishing.
    """
    once = Once.of(bridge.app, bridge.settings, patience)
    sent = once.job(
        Asked(key, job.id, call.digest()),
        lambda id: send(bridge, replace(job, id=id), call),
        lambda id: known(id) or _has_result(bridge.app, id),
    )
    return replace(job, id=sent)


def published(bridge: Service, key: str) -> str | None:
    """Return the id of the job that was published for a key; None if none is known to be.

    Raises:
        EnqueueError: no backend can store keys.
        ResultsUnavailable: the store does not answer.
    """
    found = Once.of(bridge.app, bridge.settings).find(key)
    return found.job if found is not None and found.published else None


def reserved_at(bridge: Service, key: str, digest: str) -> float:
    """Reserve a key that is not of a job; return when that was done first.

    Args:
        bridge: settings and applications.
        key: key of the reservation.
        digest: hash of what the key is used for.

    Returns:
        Seconds since the epoch, by the clock of the process that was the first.

    Raises:
        EnqueueError: the key was used for something else, or no backend can store keys.
        ResultsUnavailable: the store does not answer.
    """
    new = Reservation("-", digest, "", False, time.time())
    found = Once.of(bridge.app, bridge.settings).reserve(key, new)
    if found.digest != digest:
        raise EnqueueError(OTHER)
    return found.at


def _has_result(app: CeleryApp, job: str) -> bool:
    """Whether the result backend knows that a job has begun; False if it does not answer."""
    try:
        found = read_result(app, job)
    except TaskbridgeError:
        return False
    return found is not None and found.state != "PENDING"


def send_again(
    bridge: Service,
    kept: KeptCall,
    key: str,
    *,
    again_of: str,
    owner: str | None,
    title: str | None,
    resume: bool,
    known: Callable[[str], bool],
    patience: float,
) -> NewJob:
    """Publish a job that repeats another one, once for each key; see :func:`send_once`.

    Args:
        bridge: settings and applications.
        kept: the call of the job that is repeated.
        key: key of the reservation.
        again_of: id of the job that is repeated.
        owner: its owner; None for none.
        title: its title; None for none.
        resume: whether the task goes on from its checkpoint.
        known: returns whether a job is known to be published.
        patience: seconds to wait for another process that publishes the same job.
    """
    task: str | Signature = kept["name"] if "name" in kept else _signature(kept, bridge.app)
    args, kwargs = list(kept["args"]), dict(kept["kwargs"])
    webhook, most = kept.get("webhook"), bridge.settings.argument_bytes
    check(task, args, kwargs, owner, most, title, webhook)
    options = dict(kept.get("options") or {})
    job = NewJob.of(
        task,
        options,
        owner=owner,
        settings=bridge.settings,
        redact=False,
        title=title,
        again_of=again_of,
        webhook=webhook,
    )
    call = Call(task, args, kwargs, options)
    job = replace(job, resume=resume)
    return send_once(bridge, job, call, key, known=known, patience=patience)


def _signature(kept: KeptCall, app: CeleryApp) -> Signature:
    from celery.canvas import Signature as AnySignature

    return AnySignature.from_dict(kept["signature"], app=app)
