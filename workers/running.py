"""The running job: its id, its owner, and the settings of its worker."""

from __future__ import annotations

import uuid

from celery import current_task

from bridge.instrumentation import installed
from bridge.reporting import current_job
from bridge.settings import Settings

__all__ = ["is_later_attempt", "work", "job_id", "owner", "settings_here"]


def settings_here() -> Settings:
    """Return the settings of this process's Celery application, else those of the environment."""
    return installed.settings_or_none() or Settings.from_environ()


def owner() -> str | None:
    """Return the owner of the running job; None if it has none."""
    here = current_job.here()
    return str(here[0].owner) if here and here[0].owner is not None else None


def is_later_attempt() -> bool:
    """Whether the running task has run before: it was tried again, or delivered again."""
    request = current_task.request if current_task else None
    again = request and (request.delivery_info or {}).get("redelivered")
    return bool(request and (request.retries or again))


def work(*about: object) -> str:
    """Return what all attempts of the running task have in common, and no other task has.

    Args:
        about: what the work is about: if that changes, it is another work.
    """
    request = current_task.request if current_task else None
    task = (request and request.id) or uuid.uuid4()
    return " ".join(map(str, (job_id(), task, *about)))


def job_id() -> str | None:
    """Return the id of the running job; None outside one."""
    if here := current_job.here():
        return here[0].job
    # A task that was enqueued without a bridge is not tracked, but it has an id.
    request = current_task.request if current_task else None
    return request and (request.root_id or request.id)
