"""Types of the answers over HTTP, as JSON; docs/protocol.md says what each field means.

Their docstrings and ``#:`` comments are in the protocol's JSON Schema, as those of ``json_types``.
"""

from typing import Any, Literal, NotRequired, TypedDict

from bridge.protocol.request_types import ErrorObject

__all__ = [
    "CeleryProgress",
    "CeleryProgressBar",
    "CeleryProgressRetry",
    "HealthAnswer",
    "OriginAnswer",
    "PageAnswer",
    "RefusedAnswer",
]


class RefusedAnswer(TypedDict):
    """The answer to a request over HTTP that was refused."""

    error: ErrorObject


class PageAnswer(TypedDict):
    """What a page offers the user of a token."""

    #: Names of the tasks that may be enqueued, with patterns.
    tasks: list[str]
    flower_url: str | None
    #: Whether the server finds jobs in an archive.
    archive: bool


class OriginAnswer(TypedDict):
    """Whether pages of an origin may connect."""

    ok: bool
    error: ErrorObject | None


class HealthAnswer(TypedDict):
    """Whether a server is healthy, or ready for clients."""

    status: Literal["ok", "unavailable"]
    #: Why it is not.
    reason: NotRequired[str]
    channel: str
    shard: int
    shards: int
    #: The server's clock, in seconds since the epoch.
    time: float
    #: Seconds back from now for which the stream is complete; null while unknown.
    reach: float | None


class CeleryProgressBar(TypedDict):
    """A bar of celery-progress."""

    pending: bool
    current: float
    total: float
    percent: float
    description: NotRequired[str]


class CeleryProgress(TypedDict):
    """State of a task, as celery-progress's JavaScript reads it."""

    state: str
    complete: bool
    success: bool | None
    progress: CeleryProgressBar
    #: Once it is complete: a result, the text of an error, or a ``CeleryProgressRetry``.
    result: NotRequired[Any]


class CeleryProgressRetry(TypedDict):
    """The ``result`` of a task that is to be tried again."""

    #: Or ``Unknown``.
    next_retry_seconds: int | str
    message: str
