"""Types of requests, answers and notices, as JSON; docs/protocol.md says what each field means.

Their docstrings and ``#:`` comments are in the protocol's JSON Schema, as those of ``json_types``.
"""

from typing import Any, Literal, NotRequired, TypedDict

from bridge.protocol.json_types import JobEvent, JobState, JSONObject, SnapshotData

__all__ = [
    "BulkAnswer",
    "BulkFilter",
    "BulkRefusal",
    "BulkRequest",
    "BulkResult",
    "CancelAnswer",
    "CancelRequest",
    "DeliveriesAnswer",
    "Draining",
    "EnqueueAnswer",
    "EnqueueRequest",
    "ErrorAnswer",
    "ErrorCode",
    "ErrorObject",
    "JobCounts",
    "JobsAnswer",
    "JobsPage",
    "JobsRequest",
    "PushesDropped",
    "RefreshAnswer",
    "RefreshRequest",
    "RunAgainAnswer",
    "RunAgainRequest",
    "StreamEnd",
    "StreamPush",
    "StreamSnapshot",
    "TaskNode",
    "TasksAnswer",
    "TasksPage",
    "TasksRequest",
    "TokenExpiring",
    "TokenRenewed",
    "UnwatchAnswer",
    "UnwatchRequest",
    "WatchAnswer",
    "WatchRequest",
    "WebhookDelivery",
]

#: Why a request or a connection was refused.
ErrorCode = Literal[
    "unauthorized",
    "forbidden",
    "not_found",
    "bad_request",
    "task_not_allowed",
    "not_kept",
    "not_ended",
    "ended",
    "unavailable",
    "internal",
    "too_many_requests",
    "too_many_jobs",
    "too_many_connections",
    "wrong_shard",
]


class ErrorObject(TypedDict):
    """Why a request or a connection was refused; ``data`` of ``connect_error``, too."""

    code: ErrorCode
    #: One sentence for a person.
    message: str
    #: Whether the same request may succeed later.
    temporary: NotRequired[bool]
    #: Seconds after which the request may be repeated, of ``too_many_requests``.
    retry_after: NotRequired[float]
    #: The shard to connect with, of ``wrong_shard``.
    shard: NotRequired[int]


class ErrorAnswer(TypedDict):
    """The answer to a request that was refused."""

    ok: Literal[False]
    error: ErrorObject


class WatchRequest(TypedDict):
    """``watch``: get a job's snapshot and all its later events."""

    job: str
    #: Place up to which the client has seen the job's events.
    cursor: NotRequired[str | None]


class WatchAnswer(TypedDict):
    """The answer to ``watch``."""

    ok: Literal[True]
    snapshot: SnapshotData
    events: list[JobEvent]
    #: Whether the client, with these events, has seen every event of the job except progress.
    recovered: bool
    cursor: str | None


class UnwatchRequest(TypedDict):
    """``unwatch``: get no more events of a job."""

    job: str


class UnwatchAnswer(TypedDict):
    """The answer to ``unwatch``."""

    ok: Literal[True]


class JobsRequest(TypedDict):
    """``jobs``: list the owner's jobs, newest first, and get the events of all of them."""

    #: Most jobs in the answer, from 1 to 200; default 50.
    limit: NotRequired[int]
    #: State of the jobs to list; default any.
    state: NotRequired[JobState | None]
    #: ``next`` of the answer before, to get the next page.
    next: NotRequired[str | None]
    #: Owner of the jobs; default the token's own, or all with the scope ``operate``.
    owner: NotRequired[str | None]
    #: Name of the jobs' own task; default any.
    name: NotRequired[str | None]
    #: Words that all occur in what a job is called, raised, set as meta, or logged.
    text: NotRequired[str | None]
    #: Time, in seconds since the epoch, at or after which the jobs were enqueued.
    since: NotRequired[float | None]
    #: Time before which they were enqueued.
    until: NotRequired[float | None]


class JobCounts(TypedDict):
    """Numbers of all jobs of an owner that a server holds."""

    #: Jobs that wait for their first worker.
    queued: int
    #: Jobs that have begun and not ended.
    running: int
    ended: int


class JobsPage(TypedDict):
    """A page of jobs, as ``GET /api/jobs`` answers it."""

    jobs: list[SnapshotData]
    #: Of all jobs, whatever their state and page.
    counts: NotRequired[JobCounts]
    #: For a request of the next page; left out on the last one.
    next: NotRequired[str]
    #: Whether the archive did not answer, so that jobs which servers have forgotten are missing.
    archive_away: NotRequired[bool]


class JobsAnswer(JobsPage):
    """The answer to ``jobs``: a page of them."""

    ok: Literal[True]


class TasksRequest(TypedDict):
    """``tasks``: list the tasks of a job, in the order of their ids."""

    job: str
    #: Most tasks in the answer, from 1 to 1000; default 1000.
    limit: NotRequired[int]
    #: ``next`` of the answer before, to get the next page.
    cursor: NotRequired[str | None]


class TaskNode(TypedDict):
    """A task of a job, as a tree or a timeline shows it. Times are null while unknown."""

    task: str
    #: Id of the task that published it, as Celery has it; null for none, or while unknown.
    parent: str | None
    name: str
    state: JobState
    #: Seconds since the epoch at which it was published; not after `started_at`.
    queued_at: float | None
    #: Seconds since the epoch at which its newest attempt began.
    started_at: float | None
    #: Seconds since the epoch; null before its end.
    ended_at: float | None


class TasksPage(TypedDict):
    """A page of the tasks of a job, as ``GET /api/jobs/<id>/tasks`` answers it."""

    tasks: list[TaskNode]
    #: For a request of the next page; null on the last one.
    next: str | None


class WebhookDelivery(TypedDict):
    """The delivery of a job's end to a webhook."""

    #: Id of the message, the same in all attempts.
    id: str
    job: str
    webhook: str
    #: Type of the message, such as `job.succeeded`.
    type: str
    #: Seconds since the epoch at which it was queued.
    at: float
    #: Attempts that were made.
    attempts: int
    #: Why the last attempt failed; null before the first, and if it did not fail.
    failure: str | None
    #: Seconds since the epoch of the next attempt; null once it is delivered, or given up.
    due: float | None
    #: Seconds since the epoch; null while it is not delivered.
    delivered_at: float | None


class DeliveriesAnswer(TypedDict):
    """Deliveries to webhooks, the newest first, as ``GET /api/deliveries`` answers them."""

    deliveries: list[WebhookDelivery]


class TasksAnswer(TasksPage):
    """The answer to ``tasks``: a page of them."""

    ok: Literal[True]


class CancelRequest(TypedDict):
    """``cancel``: request the cancellation of a job."""

    job: str


class CancelAnswer(TypedDict):
    """The answer to ``cancel``."""

    ok: Literal[True]
    job: str
    #: The job's state before.
    state: JobState


class RefreshRequest(TypedDict):
    """``refresh``: continue with another token of the same owner."""

    token: NotRequired[str]
    #: Whether the server is to renew the token; default false. Also in the auth payload.
    renew: NotRequired[bool]


class RefreshAnswer(TypedDict):
    """The answer to ``refresh``."""

    ok: Literal[True]
    #: Seconds since the epoch; null for never.
    expires: float | None


class EnqueueRequest(TypedDict):
    """``enqueue``: enqueue a job by the name of its task, and watch it."""

    name: str
    args: NotRequired[list[Any] | None]
    kwargs: NotRequired[JSONObject | None]
    #: Idempotency key: a request with the same key gets the same job.
    key: NotRequired[str | None]


class EnqueueAnswer(TypedDict):
    """The answer to ``enqueue``: the id of the job, and the same as for ``watch``."""

    ok: Literal[True]
    job: str
    snapshot: SnapshotData
    events: list[JobEvent]
    recovered: bool
    cursor: str | None


class RunAgainRequest(TypedDict):
    """``run_again``: enqueue a job that has ended once more, with the same arguments."""

    job: str
    #: Idempotency key: a request with the same key and job gets the same new job.
    key: str
    #: Whether its task goes on from its checkpoint; default false. Of a job of a single task.
    resume: NotRequired[bool]


class RunAgainAnswer(TypedDict):
    """The answer to ``run_again``."""

    ok: Literal[True]
    #: Id of the new job.
    job: str
    #: Id of the job that it repeats.
    again_of: str


class BulkFilter(TypedDict):
    """Which jobs: fields of the request ``jobs``."""

    owner: NotRequired[str | None]
    state: NotRequired[JobState | None]
    name: NotRequired[str | None]
    text: NotRequired[str | None]
    since: NotRequired[float | None]
    until: NotRequired[float | None]


class BulkRequest(TypedDict):
    """``bulk``: run again the ended jobs, or cancel the unfinished ones, that a filter finds."""

    action: Literal["run_again", "cancel"]
    #: Default all jobs of the owner, or all with the scope ``operate``.
    filter: NotRequired[BulkFilter]
    #: Whether it is only to be said what would be done; default false.
    preview: NotRequired[bool]
    #: Idempotency key: a request with the same key runs each job again once. Needed for that.
    key: NotRequired[str | None]
    #: Most jobs to act on, from 1 to 200, of a preview to 500; default 100, of a preview 500.
    limit: NotRequired[int]
    #: ``next`` of the answer before, to act on the rest.
    next: NotRequired[str | None]


class BulkResult(TypedDict):
    """A job that was acted on, or of a preview, that would be."""

    #: Id of the job; of one that was run again, of the new job.
    job: str
    #: Id of the job that the new one repeats.
    again_of: NotRequired[str]
    #: State before its cancellation.
    state: NotRequired[JobState]


class BulkRefusal(ErrorObject):
    """A job that was found and not acted on, and why."""

    job: str


class BulkAnswer(TypedDict):
    """The answer to ``bulk``."""

    ok: Literal[True]
    #: Number of the jobs in ``jobs`` and ``refused``.
    count: int
    jobs: list[BulkResult]
    refused: list[BulkRefusal]
    #: For a request about the jobs that are left; left out if there are none.
    next: NotRequired[str]
    #: Whether the archive did not answer, so that jobs which servers have forgotten are missing.
    archive_away: NotRequired[bool]


class TokenExpiring(TypedDict):
    """``token_expiring``: the connection ends with its token, unless ``refresh`` replaces it."""

    #: Seconds since the epoch.
    expires: float
    #: Seconds until then.
    seconds: float


class TokenRenewed(TypedDict):
    """``token_renewed``: the connection goes on with this token, and the next begins with it."""

    token: str
    #: Seconds since the epoch until which the connection lasts.
    expires: float


class Draining(TypedDict):
    """``draining``: the server stops, and ends this connection."""

    #: Seconds until then.
    after: float


class PushesDropped(TypedDict):
    """``pushes_dropped``: events of the application's own were dropped before they were sent."""

    #: How many of the job or the owner.
    count: int


class StreamSnapshot(TypedDict):
    """``snapshot`` of an event stream: the answer to ``watch``, whose events follow one by one."""

    ok: Literal[True]
    snapshot: SnapshotData
    #: Whether the client, with these events, has seen every event of the job except progress.
    recovered: bool
    cursor: str | None


class StreamPush(TypedDict):
    """``push`` of an event stream: an event of the application's own."""

    #: Its name.
    event: str
    #: Its arguments.
    data: list[Any]


class StreamEnd(TypedDict):
    """``end`` of an event stream: the job has ended."""

    state: JobState
