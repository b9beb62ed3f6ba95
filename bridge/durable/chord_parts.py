"""Counts a task for its chord where the process died that had stored the task's result.

Celery stores the result first, and counts the task afterwards. A task whose result is stored is not
run again, neither by Celery when its process has died nor when its message is delivered again. Its
chord would wait for it for ever, and so would a chord whose last part died amid the publishing of
the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery import states
from celery._state import _task_stack

from bridge.untyped import CeleryRequest, CeleryTask, ResultBackend

__all__ = ["count", "is_counted_once"]


def is_counted_once(backend: ResultBackend) -> bool:
    """Whether ``on_chord_part_return`` of a backend counts a task once, though it is called twice.

    That of Redis does. A database counts nothing: Celery's task ``chord_unlock`` polls all results.
    Other backends would count the task twice, and publish the chord's body too early.
    """
    return hasattr(backend, "_chord_part_return_script")


def count(task: CeleryTask, request: CeleryRequest) -> bool:
    """Count a task that has succeeded for its chord, unless that was done; publish the body if due.

    Args:
        task: the task.
        request: its request (:class:`celery.app.task.Context`), which has a chord.

    Returns:
        Whether nothing is left to be done. False if the body is due, and a process that may be
        dead has claimed to publish it: its claim expires.

    Raises:
        Exception: whatever the result backend, or the publishing of the body, raises.
    """
    backend = task.backend  # each thread has its own
    meta = backend.get_task_meta(request.id)
    if meta["status"] != states.SUCCESS:
        return True
    with _running(task, request):
        backend.on_chord_part_return(request, states.SUCCESS, meta["result"])
    return not _is_due(backend, request.group)


@contextmanager
def _running(task: CeleryTask, request: CeleryRequest) -> Iterator[None]:
    """Make a task the current one: what it publishes is of its job."""
    _task_stack.push(task)
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()
        _task_stack.pop()


def _is_due(backend: ResultBackend, group: str) -> bool:
    size, more, counted = (
        backend.client.pipeline()
        .get(backend.get_key_for_group(group, ".s"))
        .get(backend.get_key_for_group(group, ".t"))
        .scard(backend.get_key_for_group(group, ".d"))
        .execute()
    )
    return size is not None and counted >= int(size) + int(more or 0)
