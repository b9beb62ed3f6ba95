"""Types of the JSON objects that clients get; docs/protocol.md says what each field means.

Times are seconds since the epoch. ``NotRequired`` fields are left out where they do not apply, and
by servers of 0.1.0.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "BarData",
    "Expectation",
    "JSONObject",
    "JobEvent",
    "JobFailure",
    "JobState",
    "LogLine",
    "QueuePlace",
    "SnapshotData",
    "TaskData",
]

#: A JSON object whose fields depend on something else: an event's type, or an application.
JSONObject: TypeAlias = dict[str, Any]

JobState = Literal[
    "queued", "running", "retrying", "cancelling", "succeeded", "failed", "cancelled", "lost"
]


class BarData(TypedDict):
    """A bar of a task: values of tqdm, ``rate`` per second, ``eta`` and ``elapsed`` in seconds."""

    position: int
    desc: str
    n: float
    total: float | None
    unit: str
    unit_scale: bool | float
    rate: float | None
    eta: float | None
    elapsed: float
    postfix: str
    closed: bool
    #: Whether its task waits for others.
    idle: NotRequired[bool]


class LogLine(TypedDict):
    """A line of a task's log."""

    at: float
    level: str
    message: str


# "class" is a keyword.
JobFailure = TypedDict("JobFailure", {"class": str, "message": str, "traceback": NotRequired[str]})
"""What a task raised."""


class QueuePlace(TypedDict):
    """The queue in which a job waits."""

    name: str
    #: Tasks ahead of it, an estimate; None if that is not known.
    ahead: int | None
    #: Whether a worker reads the queue; None if that is not known.
    workers: bool | None


class Expectation(TypedDict):
    """When a job is expected to end, from the durations of ``jobs`` earlier ones."""

    earliest: float
    latest: float
    jobs: int


class JobEvent(TypedDict):
    """One event of one task of a job; events of a task are ordered by (run, seq, tick)."""

    v: int
    job: str
    task: str
    name: str
    owner: str | None
    type: str
    run: int
    seq: int
    tick: int
    at: float
    #: By type, as docs/protocol.md lists it.
    data: JSONObject
    cursor: NotRequired[str | None]


class TaskData(TypedDict):
    """A task of a job, as a snapshot lists it."""

    task: str
    name: str
    state: JobState
    attempt: int
    bars: list[BarData]
    meta: JSONObject
    run: int
    seq: int
    tick: int
    incomplete: bool
    stalled: bool
    #: Whether its end is what a server concluded, and not the task's own event.
    presumed: bool
    ended_at: float | None
    error: JobFailure | None
    reason: str | None
    retry_at: float | None


class SnapshotData(TypedDict):
    """A job's events, folded into its state."""

    job: str
    name: str
    owner: str | None
    state: JobState
    at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    total: int
    done: int
    planned: int
    spawned: int
    bars: list[BarData]
    meta: JSONObject
    tasks: list[TaskData]
    result: NotRequired[Any]
    result_omitted: NotRequired[bool]
    error: JobFailure | None
    reason: str | None
    retry_at: float | None
    cancelling: bool
    stalled: bool
    #: Why nothing comes from the job's workers; None while events come.
    disturbed: NotRequired[str | None]
    queue: QueuePlace | None
    eta: Expectation | None
    #: Log lines and chunks of output that were dropped before they were sent.
    dropped: int
    incomplete: bool
    #: ``events``, or ``result`` where only Celery's result backend knew the job.
    source: str
