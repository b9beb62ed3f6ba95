"""What a Celery canvas holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

from celery import _state
from celery.canvas import Signature
from celery.canvas import _chord as chord

from bridge.errors import EnqueueError
from bridge.protocol.event import MAX_FOLLOWERS
from bridge.protocol.nesting import MAX_DEPTH

__all__ = ["bound", "first_ids", "followers", "ids", "lazy", "leaves", "planned", "size", "unnamed"]

#: What a canvas of each type holds other signatures as.
PARTS = {"chain": ("tasks",), "group": ("tasks",), "chord": ("header", "body")}
#: What of it is published at once.
AT_ONCE = {"group": "tasks", "chord": "header"}


def size(signature: Any, skip: Any = None, known: Collection[str] = ()) -> int:
    """Return how many tasks a signature will run, as far as it tells before it runs.

    Args:
        signature: any canvas.
        skip: signatures inside it that are not counted; see :func:`lazy`.
        known: ids of tasks that are counted already, with what is linked to them.
    """
    return sum(1 for _ in leaves(signature, skip=skip, known=known))


def lazy(signature: Any) -> Any:
    """Return the signatures that Celery reads from a generator while it publishes them, or None.

    These are the tasks of a group and of a chord's header. To count them before would exhaust the
    generator, which may depend on what has been published.
    """
    part = signature
    while isinstance(part, dict):
        part = (part.get("kwargs") or {}).get(AT_ONCE.get(part.get("subtask_type") or "", ""))
    return part if _is_lazy(part) else None


def _is_lazy(part: Any) -> bool:
    return isinstance(part, list) and hasattr(part, "map")  # Celery's `regen`


def planned(request: Any) -> frozenset[str]:
    """Return the ids of the tasks that Celery runs because of a canvas once a task has ended.

    Args:
        request: of that task.
    """
    return frozenset(ids([request.chain, request.callbacks, request.chord]))


def unnamed(request: Any) -> Counter[str]:
    """Return how many tasks of each name follow one, because of a canvas, without an id so far.

    Args:
        request: of the task.
    """
    follow = [request.chain, request.callbacks, request.chord]
    return Counter(one["task"] for one in leaves(follow) if not _id_of(one))


def followers(embed: dict[str, Any], index: int | None) -> list[Any]:
    """Return the signatures that follow a task that is published, because of a canvas.

    Args:
        embed: the part of its message that says what does.
        index: its place in a group; a chord's body follows all of it, and is counted once.
    """
    return [embed.get("chain"), embed.get("callbacks"), None if index else embed.get("chord")]


def first_ids(signatures: Any) -> list[str]:
    """Return the ids that the first tasks of signatures have so far, ``MAX_FOLLOWERS`` at most."""
    found = (_id_of(one) for one in leaves(signatures))
    return list(islice(filter(None, found), MAX_FOLLOWERS))


def ids(signatures: Any) -> set[str]:
    """Return the ids that the tasks of signatures have so far."""
    return {_id_of(one) for one in leaves(signatures)} - {""}


def leaves(
    value: Any,
    linked: tuple[str, ...] = ("link",),
    skip: Any = None,
    known: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the single tasks of a signature, or of many, and those that are linked to them.

    Args:
        value: a signature, or signatures in lists.
        linked: names of the options that hold such tasks.
        skip: signatures that are left out.
        known: ids of tasks that are left out, with what is linked to them.

    Raises:
        EnqueueError: signatures are nested too deeply in one another.
    """
    waiting = [(0, value)]
    while waiting:
        depth, one = waiting.pop()
        if depth > MAX_DEPTH:
            raise EnqueueError(f"its signatures are nested more than {MAX_DEPTH} levels deep")
        parts: Iterable[Any] = ()
        if not isinstance(one, dict):
            parts = one if isinstance(one, Iterable) and not isinstance(one, str | bytes) else ()
        elif not known or _id_of(one) not in known:
            kwargs, options = one.get("kwargs") or {}, one.get("options") or {}
            names = PARTS.get(one.get("subtask_type") or "")
            if names is None:
                yield one
            parts = [kwargs.get(name) for name in names or ()]
            parts += [options.get(name) for name in linked]
        waiting += [(depth + 1, part) for part in parts if part is not None and part is not skip]


def _id_of(signature: dict[str, Any]) -> str:
    return (signature.get("options") or {}).get("task_id") or ""


def bound(signature: Any, app: Any) -> Any:
    """Return a copy that is sent through ``app``, unless it belongs to an application already.

    A signature made by name alone would go through whatever application is current in the
    process, which in a service is often one that nobody configured.
    """
    if _application(signature) is not None:
        return signature  # Celery changes none that it applies
    if lazy(signature) is not None:
        return _bound_unread(signature, app)
    return Signature.from_dict(_plain(signature), app=app)


def _bound_unread(signature: Any, app: Any) -> Any:
    """Return a copy of a group or chord over a generator, which is read as late as Celery reads it.

    Celery's own ways to copy one wrap the generator in another that reads one signature ahead.
    """
    copy = dict.__new__(type(signature))
    dict.update(copy, signature)
    vars(copy).update(vars(signature), _app=app)
    copy["kwargs"] = kwargs = dict(signature["kwargs"])
    if kwargs.get("body") is not None:
        kwargs["body"] = bound(kwargs["body"], app)
    name = AT_ONCE[signature["subtask_type"]]
    if isinstance(kwargs[name], dict):
        kwargs[name] = _bound_unread(kwargs[name], app)
    else:
        kwargs[name].map(lambda one: Signature.from_dict(_plain(one), app=app))
    return copy


def _plain(value: Any) -> Any:
    """Return a signature without the task objects, and so the application, that it remembers."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _application(signature: Any) -> Any:
    app = getattr(signature, "_app", None)
    # Celery makes a default application, configured by nobody, when a process has none.
    if app is not None and app is not _state.default_app:
        return app
    if (generated := lazy(signature)) is not None:
        # Celery, too, looks at the first signature of a generator, and leaves the others unread.
        parts = list(islice(generated, 1))
    else:
        parts = list(getattr(signature, "tasks", None) or [])
    if isinstance(signature, chord):
        parts.append(signature.body)
    found = (_application(part) for part in parts if isinstance(part, dict))
    return next((app for app in found if app is not None), None)
