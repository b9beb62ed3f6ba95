"""Checks of the arguments of ``Bridge.enqueue`` and ``Bridge.push``, before anything is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from bridge.errors import EnqueueError
from bridge.identifiers import check_identifier
from bridge.protocol.event import MAX_EVENT_BYTES, RESERVED, finite_json
from bridge.protocol.nesting import MAX_DEPTH, is_deep, shallow_json
from bridge.settings.webhooks import NAME
from bridge.untyped import Signature

__all__ = ["MAX_ARGUMENTS", "check", "check_push"]

#: Maximum number of arguments of one task, positional and keyword arguments together.
MAX_ARGUMENTS = 1000


def check(
    task: str | Signature,
    args: Iterable[object] | None,
    kwargs: Mapping[str, object] | None,
    owner: str | None,
    most: int,
    title: str | None = None,
    webhook: str | None = None,
) -> None:
    """Check that a task can be enqueued with these arguments.

    Args:
        task: name of a task, or a signature, whose tasks' own arguments are checked too.
        args: positional arguments.
        kwargs: keyword arguments.
        owner: owner of the job; None for none.
        most: maximum size of the arguments of one task, in bytes of JSON.
        title: title of the job; default None for none.
        webhook: endpoint to which the end of the job is delivered; default None for none.

    Raises:
        EnqueueError: it cannot; the message says what must change.
    """
    if isinstance(task, str):
        check_identifier(task, "a task's name", EnqueueError)
    elif not hasattr(task, "apply_async") or not isinstance(task, dict):
        raise EnqueueError("enqueue needs a task's name or a Celery signature, such as add.s(2, 2)")
    if owner is not None:
        check_identifier(owner, "an owner", EnqueueError)
    if title is not None:
        check_identifier(title, "a title", EnqueueError)
    if webhook is not None and not (isinstance(webhook, str) and NAME.fullmatch(webhook)):
        raise EnqueueError(
            "a webhook is named by 1 to 63 letters, digits, _ and -, a letter or digit first"
        )
    listless = isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable | None)
    if listless or not isinstance(kwargs, Mapping | None):
        raise EnqueueError("args must be a list, kwargs an object with names")
    listed, named = list(args or ()), dict(kwargs or {})
    size = len(_as_json(listed, "args")) + len(_as_json(named, "kwargs"))
    _check_amount("the task", len(listed) + len(named), size, most)
    if not isinstance(task, str):
        _check_signature(task, most)


def check_push(event: str, data: object, destinations: Mapping[str, object]) -> None:
    """Check that an application's own event can be sent.

    Args:
        event: name of the event.
        data: data of the event.
        destinations: ``owner``, ``job``, ``room`` and ``everyone`` of :meth:`bridge.Bridge.push`;
            None if not given.

    Raises:
        EnqueueError: it cannot; the message says what must change.
    """
    given = {name: one for name, one in destinations.items() if one is not None}
    if len(given) != 1 or not all(given.values()):
        raise EnqueueError("push needs one destination: owner, job, room or everyone=True")
    check_identifier(event, "an event's name", EnqueueError)
    for name, what in (("owner", "an owner"), ("job", "a job's id"), ("room", "a room")):
        if name in given:
            check_identifier(given[name], what, EnqueueError)
    if event in RESERVED:
        raise EnqueueError(f"an event cannot be called {event}: the protocol uses that name")
    # Measured as it is sent, as the list of the event's arguments.
    if len(_as_json([data], "the event's data")) > MAX_EVENT_BYTES:
        raise EnqueueError(f"an event's data must be at most {MAX_EVENT_BYTES} bytes of JSON")


def _as_json(value: object, what: str) -> str:
    """Return a value as JSON.

    Raises:
        EnqueueError: it is not JSON, or nested too deeply; the message begins with ``what``.
    """
    try:
        return shallow_json(value)
    except (TypeError, ValueError) as error:
        raise EnqueueError(f"{what} cannot be sent as JSON: {error}") from None


def _check_signature(signature: Signature, most: int) -> None:
    from bridge.instrumentation.canvas import lazy, leaves

    def checked(one: Signature) -> Signature:
        _check_signature(one, most)
        return one

    if (generated := lazy(signature)) is not None:
        generated.map(checked)  # checks each signature when Celery reads it
    for one in leaves(signature, ("link", "link_error", "chain", "chord"), skip=generated):
        args, kwargs = one.get("args") or (), one.get("kwargs") or {}
        if not args and not kwargs:
            continue
        if is_deep(args) or is_deep(kwargs):
            raise EnqueueError(
                f"the arguments of {one.get('task')} are nested more than {MAX_DEPTH} levels deep"
            )
        _check_amount(one.get("task"), len(args) + len(kwargs), _size([args, kwargs]), most)


def _size(value: object) -> int:
    from kombu.utils.json import dumps

    for encode in (finite_json, dumps):  # kombu's encodes dates as well, and is slower
        with contextlib.suppress(Exception):
            return len(encode(value))
    return 0  # not JSON; another serializer may encode it


def _check_amount(name: object, number: int, size: int, most: int) -> None:
    if number > MAX_ARGUMENTS:
        raise EnqueueError(f"{name} has {number} arguments: pass at most {MAX_ARGUMENTS}")
    if size > most:
        raise EnqueueError(
            f"the arguments of {name} take {size} bytes of JSON: pass a reference to the data, or "
            f"set TASKBRIDGE_ARGUMENT_BYTES, which is {most}, higher"
        )
