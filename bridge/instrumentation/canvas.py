"""Functions that list, count and bind the signatures of a Celery canvas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeGuard

from celery import _state
from celery.canvas import Signature
from celery.canvas import _chord as chord

from bridge.errors import EnqueueError
from bridge.protocol.event import MAX_FOLLOWERS
from bridge.protocol.json_types import JSONObject
from bridge.protocol.nesting import MAX_DEPTH
from bridge.untyped import CeleryApp, CeleryRequest

__all__ = [
    "bound",
    "first_ids",
    "followers",
    "ids",
    "lazy",
    "leaves",
    "names",
    "planned",
    "size",
    "unnamed",
    "without_ids",
]

#: Names of the keyword arguments that hold a canvas's parts, by type of canvas.
PARTS = {"chain": ("tasks",), "group": ("tasks",), "chord": ("header", "body")}
#: Name of the keyword argument whose signatures are published at once, by type of canvas.
AT_ONCE = {"group": "tasks", "chord": "header"}
#: Options that hold a task or tasks beside those of ``PARTS``.
LINKED = ("link", "link_error", "chain", "chord")
#: Options that a signature gets where it is applied, or from an earlier use.
IDS = frozenset({"task_id", "group_id", "group_index", "root_id", "parent_id", "reply_to"})


class Lazy(Protocol):
    """Signatures that Celery reads from a generator while it publishes them (its ``regen``)."""

    def __iter__(self) -> Iterator[Signature]: ...

    def map(self, func: Callable[[Signature], Signature]) -> object:
        """Apply a function to each signature when it is read."""


def size(signature: object, skip: object = None, known: Collection[str] = ()) -> int:
    """Return how many tasks a signature runs, without those that its tasks will spawn.

    Args:
        signature: any signature or canvas, or a list of them.
        skip: nested signatures that are not counted, such as those of :func:`lazy`.
        known: ids of tasks that were counted before, together with the tasks linked to them.
    """
    return sum(1 for _ in leaves(signature, skip=skip, known=known))


def lazy(signature: object) -> Lazy | None:
    """Return the signatures that Celery reads from a generator while it publishes them, or None.

    These are the tasks of a group or of a chord's header. Counting them first would exhaust the
    generator, which may depend on what has been published.
    """
    part = signature
    while isinstance(part, dict):
        part = (part.get("kwargs") or {}).get(AT_ONCE.get(part.get("subtask_type") or "", ""))
    return part if _is_lazy(part) else None


def _is_lazy(part: object) -> TypeGuard[Lazy]:
    return isinstance(part, list) and hasattr(part, "map")  # Celery's `regen`


def planned(request: CeleryRequest) -> frozenset[str]:
    """Return the ids of the tasks that Celery publishes after a task: chain, callbacks, chord.

    Args:
        request: Celery's request of the task.
    """
    return frozenset(ids([request.chain, request.callbacks, request.chord]))


def unnamed(request: CeleryRequest) -> Counter[str]:
    """Return, by name, the number of tasks that follow a task and have no id yet.

    Args:
        request: Celery's request of the task.
    """
    follow = [request.chain, request.callbacks, request.chord]
    return Counter(one["task"] for one in leaves(follow) if not _id_of(one))


def followers(embed: JSONObject, index: int | None) -> list[object]:
    """Return the signatures that follow a task: its chain, its callbacks and its chord's body.

    Args:
        embed: the ``embed`` part of the task's message.
        index: index of the task in its group; None outside one. The chord's body follows the whole
            group, and is returned for its first task only.
    """
    return [embed.get("chain"), embed.get("callbacks"), None if index else embed.get("chord")]


def first_ids(signatures: object) -> list[str]:
    """Return ids of tasks of signatures, ``MAX_FOLLOWERS`` at most; some may have no id yet."""
    found = (_id_of(one) for one in leaves(signatures))
    return list(islice(filter(None, found), MAX_FOLLOWERS))


def ids(signatures: object) -> set[str]:
    """Return the ids of the tasks of signatures; tasks without an id yet are left out."""
    return {_id_of(one) for one in leaves(signatures)} - {""}


def leaves(
    value: object,
    linked: tuple[str, ...] = ("link",),
    skip: object = None,
    known: Collection[str] = (),
) -> Iterator[JSONObject]:
    """Yield the signatures of single tasks in a canvas, and of the tasks linked to them.

    Args:
        value: a signature or canvas, or nested lists of them.
        linked: names of the options that hold linked tasks.
        skip: nested part of ``value`` that is left out, compared by identity.
        known: ids of tasks that are left out, together with the tasks linked to them.

    Raises:
        EnqueueError: signatures are nested more than ``MAX_DEPTH`` levels deep.
    """
    waiting = [(0, value)]
    while waiting:
        depth, one = waiting.pop()
        if depth > MAX_DEPTH:
            raise EnqueueError(f"its signatures are nested more than {MAX_DEPTH} levels deep")
        parts: Iterable[object] = ()
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


def names(signature: object) -> set[str]:
    """Return the names of all tasks of a signature, of its callbacks and errbacks too.

    Raises:
        EnqueueError: signatures are nested more than ``MAX_DEPTH`` levels deep.
    """
    found = list(leaves(signature, LINKED))
    # Celery's `map` and `starmap` are tasks that call the task in an argument.
    inner = [(one.get("kwargs") or {}).get("task") for one in found]
    found += [one for one in inner if isinstance(one, dict)]
    return {str(one.get("task")) for one in found}


def without_ids(signature: object) -> object:
    """Return a signature as plain dicts and lists, without ids of an earlier use."""
    if isinstance(signature, dict):
        plain: JSONObject = {key: without_ids(value) for key, value in signature.items()}
        if "task" in plain and isinstance(plain.get("options"), dict):
            kept = {key: one for key, one in plain["options"].items() if key not in IDS}
            plain["options"] = kept
        return plain
    if isinstance(signature, list | tuple):
        return [without_ids(one) for one in signature]
    return signature


def _id_of(signature: JSONObject) -> str:
    return (signature.get("options") or {}).get("task_id") or ""


def bound(signature: Signature, app: CeleryApp) -> Signature:
    """Return a copy bound to ``app``; a signature that is bound to an application is returned.

    A signature made by name alone would use the current application of the process, which in a
    service is often Celery's unconfigured default.
    """
    if _application(signature) is not None:
        return signature  # no copy: Celery does not modify a signature that it applies
    if lazy(signature) is not None:
        return _bound_unread(signature, app)
    return Signature.from_dict(_plain(signature), app=app)


def _bound_unread(signature: Signature, app: CeleryApp) -> Signature:
    """Return a bound copy of a group or chord over a generator, without reading the generator.

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


def _plain(value: object) -> object:
    """Return a signature as plain dicts and lists, which hold no task objects or application."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _application(signature: Signature) -> CeleryApp | None:
    app = getattr(signature, "_app", None)
    # Celery creates an unconfigured default application when a process has none.
    if app is not None and app is not _state.default_app:
        return app
    if (generated := lazy(signature)) is not None:
        # Like Celery, look at the first signature of a generator and leave the others unread.
        parts = list(islice(generated, 1))
    else:
        parts = list(getattr(signature, "tasks", None) or [])
    if isinstance(signature, chord):
        parts.append(signature.body)
    found = (_application(part) for part in parts if isinstance(part, dict))
    return next((app for app in found if app is not None), None)
