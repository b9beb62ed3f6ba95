"""Types of events and snapshots, as JSON; docs/protocol.md says what each field means.

Times are seconds since the epoch. ``NotRequired`` fields are left out where they do not apply, and
by servers of 0.1.0. ``scripts/protocol_schema.py`` makes the protocol's JSON Schema of the types,
their docstrings and ``#:`` comments; the client's TypeScript is generated from that.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "BarData",
    "Ending",
    "EventType",
    "Expectation",
    "JSONObject",
    "JobEvent",
    "JobFailure",
    "JobState",
    "LogLine",
    "QueuePlace",
    "Resumption",
    "SnapshotData",
    "StepData",
    "StepState",
    "TaskData",
    "Totals",
]

#: A JSON object whose fields depend on something else: an event's type, or an application.
JSONObject: TypeAlias = dict[str, Any]

#: A state after which a job or a task sends nothing more.
Ending = Literal["succeeded", "failed", "cancelled", "lost"]

#: The state of a job or a task.
JobState = Literal["queued", "running", "retrying", "cancelling", Ending]

#: The state of a step.
StepState = Literal["running", Ending]

#: The type of an event; servers alone send ``stalled``, ``estimate`` and ``disturbed``.
EventType = Literal[
    "queued",
    "started",
    "progress",
    "log",
    "output",
    "retrying",
    "cancelling",
    Ending,
    "stalled",
    "estimate",
    "disturbed",
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
    #: Whether the bar is drawn in place of those of a job without bars, which waits or is stalled.
    idle: NotRequired[bool]
    #: Number of the step that it was made in; left out for one outside of any.
    step: NotRequired[int]


class LogLine(TypedDict):
    """A line of a task's log."""

    #: Seconds since the epoch.
    at: float
    level: str
    message: str
    #: Number of the step that it was logged in; left out for one outside of any.
    step: NotRequired[int]


class StepData(TypedDict):
    """A named part of a task, as ``job.step`` makes it."""

    #: Number of the step, the same in all events of an execution.
    id: int
    #: Number of the step that it is a part of; null for a part of the task itself.
    parent: int | None
    name: str
    state: StepState
    #: Seconds since the epoch.
    started_at: float
    #: Seconds since the epoch; null before its end.
    ended_at: float | None
    #: Whether its end is only that of its task, since none of its own came; left out if not.
    presumed: NotRequired[bool]


# "class" is a keyword.
JobFailure = TypedDict("JobFailure", {"class": str, "message": str, "traceback": NotRequired[str]})
"""What a task raised."""


class QueuePlace(TypedDict):
    """The queue in which a job waits."""

    name: str
    #: Tasks ahead of it, an estimate; null while unknown.
    ahead: int | None
    #: Whether a worker reads the queue; null while unknown.
    workers: bool | None
    #: Whether the queue has had no message for some seconds: a worker has taken the job's.
    taken: NotRequired[bool]


class Resumption(TypedDict):
    """What an attempt of a task goes on from: a checkpoint of an earlier one."""

    #: Seconds since the epoch of the checkpoint.
    at: float
    #: Share of the task's first bar that was done then, from 0 to 1; null if unknown.
    share: float | None


class Expectation(TypedDict):
    """When a job is expected to end, in seconds since the epoch, by ``jobs`` earlier ones."""

    earliest: float
    latest: float
    jobs: int


class Totals(TypedDict):
    """A job's state over all of its tasks, of which a snapshot may list only some."""

    state: JobState
    #: Tasks that have ended, and tasks that the job is known to have.
    done: int
    total: int
    incomplete: bool
    #: The result of a job that this event has ended, if it is that of another task, and whether it
    #: was left out.
    result: NotRequired[Any]
    result_omitted: NotRequired[bool]


class JobEvent(TypedDict):
    """One event of one task of a job; events of a task are ordered by (run, seq, tick)."""

    #: Version of the protocol.
    v: int
    job: str
    task: str
    name: str
    owner: str | None
    type: EventType
    run: int
    seq: int
    tick: int
    #: Seconds since the epoch.
    at: float
    #: Its fields depend on ``type``, as docs/protocol.md lists them.
    data: JSONObject
    #: Place of the event among those of its job, for a later ``watch``.
    cursor: NotRequired[str | None]
    #: Of the job after the event, if several of its tasks have sent events.
    totals: NotRequired[Totals]


class TaskData(TypedDict):
    """A task of a job, as a snapshot lists it."""

    task: str
    name: str
    state: JobState
    attempt: int
    bars: list[BarData]
    meta: JSONObject
    #: Null or left out for an attempt that has begun anew.
    resumed: NotRequired[Resumption | None]
    #: The steps of its newest execution, each after the one that it is a part of; left out without.
    steps: NotRequired[list[StepData]]
    #: Steps that are not in the list; left out without any.
    steps_omitted: NotRequired[int]
    run: int
    seq: int
    tick: int
    incomplete: bool
    stalled: bool
    #: Whether its end is what a server concluded, and not the task's own event.
    presumed: bool
    #: Seconds since the epoch; null before its end.
    ended_at: float | None
    error: JobFailure | None
    reason: str | None
    #: Seconds since the epoch of the earliest next attempt.
    retry_at: float | None


class SnapshotData(TypedDict):
    """A job's events, folded into its state."""

    job: str
    name: str
    #: What the service calls the job; null or left out for a job without a title.
    title: NotRequired[str | None]
    owner: str | None
    #: Id of the job that this one repeats; null or left out for a job that repeats none.
    again_of: NotRequired[str | None]
    state: JobState
    #: Seconds since the epoch of the newest event.
    at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    #: Tasks that the job is known to have.
    total: int
    #: Tasks that have ended.
    done: int
    #: Tasks that the job was enqueued with.
    planned: int
    #: Tasks that its tasks added.
    spawned: int
    bars: list[BarData]
    meta: JSONObject
    tasks: list[TaskData]
    result: NotRequired[Any]
    result_omitted: NotRequired[bool]
    error: JobFailure | None
    reason: str | None
    retry_at: float | None
    #: Seconds since the epoch of the newest checkpoint; null or left out without one.
    saved: NotRequired[float | None]
    cancelling: bool
    stalled: bool
    #: Why no events of the job's workers arrive; null while they arrive.
    disturbed: NotRequired[str | None]
    queue: QueuePlace | None
    eta: Expectation | None
    #: Log lines and chunks of output that were dropped before they were sent.
    dropped: int
    incomplete: bool
    #: ``events``, or ``result`` where only Celery's result backend knew the job.
    source: str
