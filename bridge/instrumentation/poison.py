"""``Guard``: checks task messages; a malformed one ends its own job, and not the worker.

Celery checks a message only where it uses it: many flaws raise in the worker's loop or while the
pool takes the task over, which ends the worker, or costs it a pool slot for good. This bootstep of
the consumer checks each message first, in every pool, with and without late acknowledgement.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import bootsteps
from celery.app.task import Context
from celery.exceptions import InvalidTaskError

from bridge.instrumentation import installed, outcomes
from bridge.instrumentation.header import HEADER, run_of, sound
from bridge.protocol.event_checks import is_counter, is_identifier, is_number
from bridge.protocol.json_types import JSONObject
from bridge.protocol.nesting import MAX_MESSAGE_DEPTH, is_deep, may_be_deep
from bridge.sending.process_emitters import emitter_for
from bridge.untyped import CeleryConsumer, KombuMessage

__all__ = ["Guard", "fail", "on_rejected", "read_fields"]

logger = logging.getLogger(__name__)

#: Bound of a task's ``eta`` and ``expires``, in seconds since the epoch: the beginning of the year
#: 9000. Dates near the end of 9999 overflow when they are converted to another time zone.
LATEST = 221_845_392_000.0
#: Exceptions that a malformed message can cause; an unavailable broker or backend raises others.
CAUSED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: Parts of a message's ``embed`` that hold lists of signatures.
EMBEDDED = ("callbacks", "errbacks", "chain")


class Guard(bootsteps.Step):
    """Consumer bootstep that checks each task message before Celery's handler gets it."""

    def create(self, parent: CeleryConsumer) -> None:
        """Wrap the message handler of a consumer, before it begins to consume."""
        new_handler = parent.create_task_handler
        parent.create_task_handler = lambda: _guarded(parent, new_handler())
        parent.on_decode_error = lambda message, error: _refuse(parent, message, error)


def _guarded(
    consumer: CeleryConsumer, handle: Callable[[KombuMessage], object]
) -> Callable[[KombuMessage], None]:
    def on_message(message: KombuMessage) -> None:
        try:
            _check(message)
            handle(message)
        except (InvalidTaskError, *CAUSED) as error:
            _refuse(consumer, message, error)

    return on_message


def on_rejected(
    sender: CeleryConsumer, message: KombuMessage, exc: object = None, **_: object
) -> None:
    """End the job of a message that Celery itself has rejected (signal ``task_rejected``)."""
    _end(sender, message, exc or "it is not one of Celery's protocol")


def _refuse(consumer: CeleryConsumer, message: KombuMessage, error: object) -> None:
    """End the job of a message, and reject the message."""
    _end(consumer, message, error)

    def reject() -> None:
        if not message.acknowledged:
            message.reject_log_error(logger, consumer.connection_errors)

    # Celery may have scheduled an acknowledgement in its loop before the error was raised.
    consumer.hub.call_soon(reject) if consumer.hub else reject()


def _end(consumer: CeleryConsumer, message: KombuMessage, error: object) -> None:
    if not is_identifier(task := read_fields(message).get("id")):
        logger.error("taskbridge: rejected a message that is no task: %.500s", error)
        return
    flaw = (
        error
        if isinstance(error, InvalidTaskError)
        else InvalidTaskError(f"the task's message cannot be used: {error}")
    )
    logger.error("taskbridge: task %s has failed before it began: %.500s", task, flaw)
    fail(consumer, message, flaw, redelivered=bool(message.delivery_info.get("redelivered")))


def fail(
    consumer: CeleryConsumer,
    message: KombuMessage,
    error: Exception,
    *,
    redelivered: bool | None,
    store: bool = True,
) -> None:
    """Report a task as failed whose message no worker runs; the message must have an id.

    Args:
        consumer: the worker's consumer.
        message: kombu message of the task.
        error: reason of the failure.
        redelivered: whether the execution that failed was one of a redelivered message; None if a
            worker may be running the task: servers then ignore the failure while it runs.
        store: whether to store the failure in the result backend too; default True.
    """
    fields = read_fields(message)
    task, name = str(fields["id"]), fields.get("task")
    if store:
        _store(consumer, task, {**fields, **_embedded(message)}, error)
    fields |= {HEADER: sound(fields.get(HEADER)), "delivery_info": {"redelivered": redelivered}}
    if not is_identifier(fields.get("root_id")):
        fields["root_id"] = task
    # 1 is greater than the 0 of `queued`, and smaller than the number of any execution.
    begun = 1 if redelivered is None else None
    if run := run_of(fields, name[:255] if isinstance(name, str) else "", begun=begun):
        emitter_for(installed.settings()).put(run, "failed", {"error": outcomes.error(error)})


def _store(consumer: CeleryConsumer, task: str, request: JSONObject, error: Exception) -> None:
    """Store that a task has failed, for its chord too, and send ``task-failed`` to monitors."""
    fail = consumer.app.backend.mark_as_failure
    for context in (Context(request), None):
        try:
            fail(task, error, request=context)
            break
        except Exception as failure:  # noqa: BLE001 - any backend's, or of anything in the message
            logger.error("taskbridge: cannot store that task %s has failed: %s", task, failure)
    if consumer.event_dispatcher:
        consumer.event_dispatcher.send("task-failed", uuid=task, exception=repr(error))


def _payload(message: KombuMessage) -> object:
    """Return a message's decoded body.

    Raises:
        InvalidTaskError: it cannot be decoded.
    """
    try:
        return message.payload
    except Exception as error:  # noqa: BLE001 - any decoder's
        raise InvalidTaskError(f"the body of its message cannot be decoded: {error}") from None


def read_fields(message: KombuMessage) -> JSONObject:
    """Return the fields of a task's message: its headers; in protocol 1 also those of its body."""
    try:
        payload = _payload(message)
    except InvalidTaskError:
        payload = None
    return {**(payload if isinstance(payload, dict) else {}), **message.headers}


def _embedded(message: KombuMessage) -> JSONObject:
    """Return a message's ``embed``: what follows its task; empty if it is malformed."""
    try:
        _, _, embed = _call(_payload(message))
        return _check_embedded(embed)
    except InvalidTaskError:
        return {}


def _call(payload: object) -> tuple[object, object, object]:
    """Return ``args``, ``kwargs`` and ``embed`` of a decoded body."""
    if isinstance(payload, dict) and ("args" in payload or "task" in payload):
        embed = {name: payload.get(name) for name in ("callbacks", "errbacks", "chord")}
        return payload.get("args", ()), payload.get("kwargs", {}), embed
    if not isinstance(payload, list | tuple) or len(payload) != 3:
        raise InvalidTaskError("the body of its message must be [args, kwargs, embed]")
    return tuple(payload)


def _check(message: KombuMessage) -> None:
    """Check that Celery can handle a message; drop malformed values of taskbridge's own header.

    Raises:
        InvalidTaskError: it cannot; the text says what must change.
    """
    payload, fields = _payload(message), read_fields(message)
    if "task" not in fields:
        return  # Celery rejects it
    for name, is_right in _CHECKS.items():
        if not is_right(fields.get(name)):
            raise InvalidTaskError(f"{name} in its message is missing or no {name} of Celery's")
    if _is_deep(message, payload) or is_deep(fields, MAX_MESSAGE_DEPTH):
        raise InvalidTaskError(
            f"its message is nested more than {MAX_MESSAGE_DEPTH} levels deep: pass flatter data"
        )
    args, kwargs, embed = _call(payload)
    if not isinstance(args, list | tuple):
        raise InvalidTaskError("args in its message must be a list")
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        raise InvalidTaskError("kwargs in its message must be an object with names")
    _check_embedded(embed)
    for place in (message.headers, payload):
        if isinstance(place, dict) and HEADER in place:
            place[HEADER] = sound(place[HEADER])


def _is_deep(message: KombuMessage, payload: object) -> bool:
    body = message.body
    if message.content_type == "application/json" and isinstance(body, str | bytes):
        return may_be_deep(body, MAX_MESSAGE_DEPTH) and is_deep(payload, MAX_MESSAGE_DEPTH)
    return is_deep(payload, MAX_MESSAGE_DEPTH)


def _check_embedded(embed: object) -> JSONObject:
    """Check ``embed``, and return it; empty if it is None.

    Raises:
        InvalidTaskError: it is malformed.
    """
    embed = {} if embed is None else embed
    if not isinstance(embed, dict):
        raise InvalidTaskError("embed in its message must be an object")
    parts = {name: embed.get(name) or [] for name in EMBEDDED}
    if chord := embed.get("chord"):
        parts["chord"] = [chord]
    for name, part in parts.items():
        if not isinstance(part, list | tuple) or not all(map(_is_signature, part)):
            raise InvalidTaskError(f"{name} in its message must hold signatures")
    return embed


def _is_signature(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args") or [], list | tuple)
        and isinstance(value.get("kwargs") or {}, dict)
        and isinstance(value.get("options"), dict)
    )


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _moment(value: object) -> bool:
    """Whether it is a date from 1970 to ``LATEST``, which every time zone can represent."""
    try:
        return not isinstance(value, int | float) and 0 <= (outcomes.moment(value) or 0) < LATEST
    except CAUSED:
        return False


def _limits(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) not in (0, 2):
        return False
    return all(one is None or is_number(one) for one in value)


_CHECKS: dict[str, Callable[[object], bool]] = {
    "id": is_identifier,
    "task": _text,
    **dict.fromkeys(("root_id", "parent_id"), _or_none(is_identifier)),
    **dict.fromkeys(("group", "shadow", "argsrepr", "kwargsrepr", "origin"), _or_none(_text)),
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _or_none(is_counter)),
    **dict.fromkeys(("eta", "expires"), _or_none(_moment)),
    "timelimit": _or_none(_limits),
    "stamped_headers": _or_none(lambda value: isinstance(value, list) and all(map(_text, value))),
    "stamps": _or_none(lambda value: isinstance(value, dict)),
    "groups": _or_none(lambda value: isinstance(value, list)),
}
