"""The errors of taskbridge's public API; nearly every message names what to change."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BrokerUnavailable",
    "EnqueueError",
    "EventError",
    "InputError",
    "JobCancelled",
    "JobEnded",
    "JobFailed",
    "JobNotFound",
    "QueueUnavailable",
    "ResultsUnavailable",
    "ServerUnavailable",
    "SettingsError",
    "TaskbridgeError",
    "TokenError",
]


class TaskbridgeError(Exception):
    """Base of all errors of this project; ``str(error)`` is one sentence for a person."""


class SettingsError(TaskbridgeError):
    """A setting is unknown, missing or has a value that cannot work."""


class WrongShard(TaskbridgeError):
    """The jobs that a token names belong to servers of another shard.

    Args:
        shard: shard of the jobs.
        own: shard of the server that was asked.
    """

    def __init__(self, shard: int, own: int) -> None:
        super().__init__(
            f"these jobs are of shard {shard}, and this server has shard {own}: connect with "
            f"?shard={shard}, by which the balancer must choose the server"
        )
        self.shard = shard


class TokenError(TaskbridgeError):
    """A token is missing, forged, expired or malformed."""


class EventError(TaskbridgeError):
    """A message is not an event as the protocol defines it."""


class EnqueueError(TaskbridgeError):
    """A job cannot be enqueued as asked: its name or its arguments are not usable."""


class BrokerUnavailable(TaskbridgeError):
    """No broker answers, or it refuses the login or a right, or it does not confirm a message."""


class ResultsUnavailable(TaskbridgeError):
    """The result backend does not answer, or cannot be read."""


class QueueUnavailable(BrokerUnavailable):
    """The broker answers, but does not take the task: there is no such queue, or it is full."""


class ServerUnavailable(TaskbridgeError):
    """No socket server answers at the configured address."""


class JobNotFound(TaskbridgeError):
    """The job does not exist, or the token does not name it; the error does not say which."""


class JobEnded(TaskbridgeError):
    """The job has ended, so it cannot be cancelled any more."""


class JobFailed(TaskbridgeError):
    """A job has no result: it failed, was cancelled or was lost.

    Args:
        message: one sentence.
        state: ``failed``, ``cancelled`` or ``lost``.
        error: the exception that its task raised, ``{"class": …, "message": …}``; None if there is
            none.
    """

    def __init__(
        self, message: str, state: str = "failed", error: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.state, self.error = state, error


class InputError(TaskbridgeError):
    """An input of a job (a path, a file, a URL) cannot be used."""


class JobCancelled(BaseException):
    """The job was cancelled; raised inside the task, so that ``finally`` blocks run.

    As asyncio's ``CancelledError``, it is no ``Exception``: neither ``except Exception`` nor
    Celery's ``autoretry_for`` takes it for a failure.
    """

    def __init__(self, message: str = "the job was cancelled") -> None:
        super().__init__(message)
