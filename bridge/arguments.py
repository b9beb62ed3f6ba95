"""What a service asks for, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.errors import EnqueueError
from bridge.events import finite_json
from bridge.identifiers import check_identifier

__all__ = ["as_json", "check"]


def check(task: Any, args: Any, kwargs: Any, owner: str | None) -> None:
    """Return if a task can be enqueued with these arguments.

    Raises:
        EnqueueError: it cannot; the message says which of them must change.
    """
    if isinstance(task, str):
        check_identifier(task, "a task's name", EnqueueError)
    elif not hasattr(task, "apply_async") or not isinstance(task, dict):
        raise EnqueueError("enqueue needs a task's name or a Celery signature, such as add.s(2, 2)")
    if owner is not None:
        check_identifier(owner, "an owner", EnqueueError)
    if args is not None and isinstance(args, str | bytes | Mapping):
        raise EnqueueError("args must be a list, kwargs an object with names")
    as_json(list(args or ()), "args")
    as_json(dict(kwargs or {}), "kwargs")


def as_json(value: Any, what: str) -> str:
    """Return a value as JSON.

    Raises:
        EnqueueError: it is not JSON; the message begins with ``what``.
    """
    try:
        return finite_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EnqueueError(f"{what} cannot be sent as JSON: {error}") from None
