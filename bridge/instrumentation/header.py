"""``Header``: the header ``taskbridge`` of a task's message, and the run of the task that has it.

The header makes a task part of a job. A task whose message has no header is not tracked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, TypedDict, cast, get_args

from bridge.protocol.event_checks import is_counter, is_identifier, is_number
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import Run
from bridge.untyped import CeleryRequest

__all__ = [
    "HEADER",
    "INTERNAL",
    "Header",
    "execution",
    "header_of",
    "parent_of",
    "repeated",
    "resumed",
    "run_after",
    "run_of",
    "sound",
    "stopped_clock",
]

#: Name of the header.
HEADER = "taskbridge"
#: Names of Celery's own helper tasks, for which no events are sent.
INTERNAL = frozenset({"celery.chord_unlock", "celery.backend_cleanup"})
#: Fields of the header that the ``queued`` and ``started`` events repeat.
Repeated = Literal["title", "again_of", "total", "more", "queue", "expires_at", "webhook"]
REPEATED: tuple[Repeated, ...] = get_args(Repeated)
#: Bound of the numbers of tasks in a header: a job that waits for more would never end.
MAX_TASKS = 10_000_000
#: Bound of ``run`` in a header; the clock, in microseconds, reaches it in 2112.
MAX_RUN = 2**52
#: Checks of the values in a header, by name; values of other names are left alone.
SOUND: dict[str, Callable[[Any], bool]] = {
    "owner": lambda value: value is None or is_identifier(value),
    "title": is_identifier,
    "again_of": is_identifier,
    **dict.fromkeys(("total", "more"), lambda value: is_counter(value) and value <= MAX_TASKS),
    **dict.fromkeys(("at", "expires_at"), is_number),
    "resume": lambda value: isinstance(value, bool),
    **dict.fromkeys(("queue", "webhook"), is_identifier),
    "run": lambda value: is_counter(value) and value < MAX_RUN,
}


class Header(TypedDict, total=False):
    """The value of the header ``taskbridge`` of a task's message."""

    owner: str | None
    #: What the service calls the job.
    title: str
    #: Id of the job that this one repeats.
    again_of: str
    #: Whether it goes on from that job's checkpoint; of a job of a single task.
    resume: bool
    #: Endpoint to which the archive delivers the end of the job.
    webhook: str
    #: Time of publishing, in seconds since the epoch.
    at: float
    #: Tasks of the call's job, or tasks that the message adds to a job.
    total: int
    more: int
    #: Number of the publishing run, which this task's runs exceed; see :func:`run_after`.
    run: int
    queue: str
    expires_at: float
    #: Whether arguments are hidden, those of the tasks that it spawns too.
    redact: bool


#: Time in microseconds that :func:`run_after` uses in this context; None for the clock.
_stopped: ContextVar[int | None] = ContextVar("taskbridge_stopped", default=None)


def header_of(value: object) -> Header | None:
    """Return the header of a message that :func:`sound` has checked; None if it has none."""
    return cast("Header", value) if isinstance(value, dict) else None


def sound(header: object) -> Header | None:
    """Return a header without values of a wrong type; None if it is no header."""
    if not isinstance(header, dict):
        return None
    right = {name: one for name, one in header.items() if name not in SOUND or SOUND[name](one)}
    return cast("Header", right)


def repeated(header: Header) -> JSONObject:
    """Return the fields of a header that the ``queued`` and ``started`` events repeat."""
    return {name: header[name] for name in REPEATED if name in header}


def resumed(header: Header) -> str | None:
    """Return the id of the job whose checkpoint a task goes on from; None for none."""
    return header.get("again_of") if header.get("resume") else None


def parent_of(fields: JSONObject | CeleryRequest) -> JSONObject:
    """Return the field ``parent`` of ``queued`` and ``started``: the task that published this one.

    Args:
        fields: fields of the task's message, or its request; ``parent_id`` is read with ``get``.

    Returns:
        It is empty for a task that no other task published.
    """
    parent = fields.get("parent_id")
    return {"parent": parent} if is_identifier(parent) else {}


def run_of(
    fields: JSONObject | CeleryRequest, name: str, *, begun: int | None = None, ahead: int = 1
) -> Run | None:
    """Return a new run of the task that a message is of; None if the task is not tracked.

    Read of the message are ``id``, ``root_id`` (the job's id; absent in a job's own task),
    ``taskbridge`` (``owner`` and ``run`` of a :class:`Header`), and what :func:`execution` reads.

    Args:
        fields: fields of the task's message, or its request; read with ``get``.
        name: name of the task.
        begun: number of a run that is not an execution, see :class:`Run`; default None, for an
            execution, whose number :func:`run_after` returns.
        ahead: minimum distance of an execution's number to that of the publishing run; default 1.
    """
    header = header_of(fields.get(HEADER))
    if header is None or name in INTERNAL:
        return None
    task = str(fields.get("id"))
    return Run(
        job=str(fields.get("root_id") or task),
        task=task,
        name=name,
        owner=header.get("owner"),
        begun=run_after(header, ahead) if begun is None else begun,
        execution=execution(fields) if begun is None else None,
        queue=header.get("queue"),
    )


def run_after(header: Header, by: int = 1) -> int:
    """Return a number for an execution: the clock in microseconds, but greater than ``run``.

    The attempts of a task, and the tasks of a chain, are so in order even if hosts' clocks differ.

    Args:
        header: taskbridge header of the task's message; its ``run`` is from the publisher.
        by: minimum distance to ``run``; default 1.
    """
    return max(_stopped.get() or time.time_ns() // 1000, header.get("run", 0) + by)


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """Make :func:`run_after` use the time at which the ``with`` block begins.

    An execution that is reported after its retry was published has so the smaller number.
    """
    token = _stopped.set(time.time_ns() // 1000)
    try:
        yield
    finally:
        _stopped.reset(token)


def execution(fields: JSONObject | CeleryRequest) -> JSONObject:
    """Return which execution of a task this is: ``attempt``, ``redelivered``, maybe ``replaced``.

    Read are ``retries``, ``redelivered`` in ``delivery_info``, and ``replaced_task_nesting``.

    Args:
        fields: fields of the task's message, or its request; read with ``get``.
    """
    retries, delivery = fields.get("retries", 0), fields.get("delivery_info") or {}
    attempt = retries + 1 if is_counter(retries) else 1
    known = {"attempt": attempt, "redelivered": bool(delivery.get("redelivered"))}
    replaced = fields.get("replaced_task_nesting")
    # Celery counts the attempts of a task that replaces another from 1 again.
    return {**known, "replaced": replaced} if is_counter(replaced) and replaced else known
