"""What a Celery canvas holds."""

from __future__ import annotations

from typing import Any

from celery import _state
from celery.canvas import Signature, _chain, group
from celery.canvas import _chord as chord

__all__ = ["bound", "size"]


def size(signature: Any) -> int:
    """Return how many tasks a signature will run, as far as it tells before it runs."""
    if isinstance(signature, chord):
        header = signature.tasks
        tasks = header.tasks if isinstance(header, group) else header
        body = signature.body
        return sum(size(task) for task in tasks) + (size(body) if body else 0)
    if isinstance(signature, _chain | group):
        return sum(size(task) for task in signature.tasks)
    return 1


def bound(signature: Any, app: Any) -> Any:
    """Return a copy that is sent through ``app``, unless it belongs to an application already.

    A signature made by name alone would go through whatever application is current in the
    process, which in a service is often one that nobody configured.
    """
    if _application(signature) is not None:
        return signature.clone()
    return Signature.from_dict(_plain(signature), app=app)


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
    parts = list(getattr(signature, "tasks", None) or [])
    if isinstance(signature, chord):
        parts.append(signature.body)
    found = (_application(part) for part in parts if isinstance(part, dict))
    return next((app for app in found if app is not None), None)
