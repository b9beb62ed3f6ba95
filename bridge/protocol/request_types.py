"""Types of requests, answers and notices, as JSON; docs/protocol.md says what each field means.

Their docstrings and ``#:`` comments are in the protocol's JSON Schema, as those of ``json_types``.
"""

from typing import Any, Literal, NotRequired, TypedDict

from bridge.protocol.json_types import JobEvent, JobState, JSONObject, SnapshotData

__all__ = [
    "CancelAnswer",
    "CancelRequest",
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
    "StreamEnd",
    "StreamPush",
    "StreamSnapshot",
    "TokenExpiring",
    "TokenRenewed",
    "UnwatchAnswer",
    "UnwatchRequest",
    "WatchAnswer",
    "WatchRequest",
]

#: Why a request or a connection was refused.
ErrorCode = Literal[
    "unauthorized",
    "forbidden",
    "not_found",
    "bad_request",
    "task_not_allowed",
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


class EnqueueAnswer(TypedDict):
    """The answer to ``enqueue``: the id of the job, and the same as for ``watch``."""

    ok: Literal[True]
    job: str
    snapshot: SnapshotData
    events: list[JobEvent]
    recovered: bool
    cursor: str | None


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
