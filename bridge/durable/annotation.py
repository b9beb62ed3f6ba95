"""``DurableTasks``: the task annotation of a durable application."""

from __future__ import annotations

from celery import Task
from celery.app.annotations import prepare, resolve_all

from bridge.durable.durability import Durability
from bridge.durable.retries import stored_first
from bridge.errors import TaskbridgeError
from bridge.untyped import CeleryApp, CeleryTask

__all__ = ["DurableTasks"]

#: Seconds before a task whose pool process died is retried; also before a retry of a task that
#: names no delay. Celery's default of 180 is too long for a user who watches a bar.
LOST_RETRY_DELAY = 5


class DurableTasks:
    """An annotation (see Celery's ``task_annotations``) of tasks of every class.

    Celery takes the first annotation that has a task, so this one adds the application's own.

    Args:
        app: the application.
        durability: the parts that it has.
    """

    def __init__(self, app: CeleryApp, durability: Durability) -> None:
        self._app, self._durability = app, durability

    def annotate(self, task: CeleryTask) -> dict[str, object]:
        """Return attributes to set on ``task``; one that begins with ``@`` decorates a method."""
        # Logged without a traceback: a cancelled job or unusable input is no bug.
        told: dict[str, object] = {"throws": (*task.throws, TaskbridgeError)}
        if self._durability.results:
            told["@retry"] = stored_first
        if self._durability.redelivery and task.Request == Task.Request:
            told["Request"] = "bridge.durable.redelivery:DeduplicatedRequest"
        # Celery's own tasks (``celery.chord_unlock``) keep their own delay.
        unsaid = task.default_retry_delay == Task.default_retry_delay
        if self._durability.lost_processes and unsaid and not task.name.startswith("celery."):
            told["default_retry_delay"] = LOST_RETRY_DELAY
        for own in resolve_all(prepare(self._app.conf.task_annotations), task):
            told |= own
        return told

    def annotate_any(self) -> None:
        """Return None: :meth:`annotate` has what holds for any task as well."""
