"""``WatchState``: what a watch has seen of a job, and what each message means to it. Pure.

``Watcher`` and ``AsyncWatcher`` are it, each with a connection of its own kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias, TypedDict

from bridge.client.novelty import Novelty
from bridge.errors import (
    EventError,
    JobNotFound,
    ResultsUnavailable,
    TaskbridgeError,
    TokenError,
)
from bridge.protocol.error_codes import TEMPORARY
from bridge.protocol.event import Event
from bridge.protocol.json_types import JobEvent, JSONObject, SnapshotData
from bridge.protocol.snapshot import Snapshot

__all__ = [
    "RECONNECT",
    "Answer",
    "Message",
    "Patience",
    "WatchState",
    "is_temporary",
    "pause",
    "refusal",
]

#: Seconds between attempts to reconnect, first and longest, and the random fraction of the delay.
RECONNECT = {"reconnection_delay": 0.2, "reconnection_delay_max": 5, "randomization_factor": 0.5}
#: Seconds before ``watch`` is sent again to a server that refused temporarily and says no time,
#: and the longest time that it may say.
AGAIN, LONGEST = 1.0, 60.0
#: Exception classes, by the code of an error of the protocol; other codes are TaskbridgeError.
ERRORS: dict[str, type[TaskbridgeError]] = {
    "not_found": JobNotFound,
    "unauthorized": TokenError,
    "wrong_shard": TokenError,
}


class Answer(TypedDict, total=False):
    """A server's answer to ``watch``; ``error`` is there alone, if not ``ok``."""

    ok: bool
    error: JSONObject
    snapshot: SnapshotData
    events: list[JobEvent]
    recovered: bool
    cursor: str | None


#: A message for a watch: an error to raise, an answer to ``watch``, or an event.
Message: TypeAlias = (
    tuple[Literal["refused"], Exception]
    | tuple[Literal["watch"], Answer]
    | tuple[Literal["job"], JobEvent]
)


def refusal(error: object) -> TaskbridgeError:
    """Return the exception for a server's refusal, with the server's message.

    Args:
        error: ``{"code": …, "message": …}`` of the protocol; anything else is an unknown reason.
    """
    told: JSONObject = error if isinstance(error, dict) else {}
    kind = ERRORS.get(str(told.get("code")), TaskbridgeError)
    return kind(str(told.get("message") or "the server refused without a reason"))


def is_temporary(error: object) -> bool:
    """Whether the server may accept a later attempt."""
    if not isinstance(error, dict):
        return False
    # Servers of 0.1.0 do not say it.
    return bool(error.get("temporary", error.get("code") in TEMPORARY))


def pause(error: JSONObject) -> float:
    """Return the seconds after which to send a request again that was refused temporarily."""
    wait = error.get("retry_after")
    return min(float(wait), LONGEST) if isinstance(wait, int | float) and wait > 0 else AGAIN


class Patience:
    """How long something has failed without a break.

    Args:
        timeout: seconds after which it has failed for too long; None means never.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout, self._clock = timeout, clock
        self._since: float | None = None

    def begin(self) -> None:
        """Note that it fails; the time counts from the first of these calls on."""
        if self._since is None:
            self._since = self._clock()

    def end(self) -> None:
        """Note that it does not fail any more."""
        self._since = None

    @property
    def left(self) -> float | None:
        """Seconds until it has failed for too long, 0 or more; None for no limit."""
        if self._since is None or self._timeout is None:
            return None
        return max(0.0, self._since + self._timeout - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether it has failed for too long."""
        return self.left == 0.0


class WatchState:
    """What a watch has seen of a job.

    Args:
        job: id of the job.
        cursor: cursor to resume from; None means the beginning.
        timeout: seconds without a connection, or of temporary refusals, after which to give up;
            None means never.
    """

    def __init__(self, job: str, cursor: str | None, timeout: float | None) -> None:
        self.snapshot = Snapshot(job)
        #: Position in the job's events up to which this client has seen them.
        self.cursor: str | None = cursor
        #: False once events were missed that the server could not replay.
        self.recovered = True
        #: After a reconnect a server may send events again that were yielded.
        self._novelty = Novelty()
        self._outage, self._refusals = Patience(timeout), Patience(timeout)

    def _request(self) -> JSONObject:
        """Return the request ``watch`` that continues where this watch is."""
        request = {"job": self.snapshot.job}
        return {**request, "cursor": self.cursor} if self.cursor else request

    def _start(self, answer: Answer) -> Iterator[JobEvent]:
        """Take an answer that is ``ok``, and yield its new events."""
        self._refusals.end()
        self.recovered = self.recovered and answer["recovered"]
        # The snapshot includes the events of the answer.
        self.snapshot = Snapshot.decode(answer["snapshot"], self.snapshot)
        for message in answer["events"]:
            event = self._event(message)
            if event and self._novelty.take(event):
                yield message
        self.cursor = answer["cursor"]

    def _refused(self, error: JSONObject) -> float:
        """Return the seconds after which to ask again, after an answer that is not ``ok``.

        Raises:
            JobNotFound, ResultsUnavailable, TokenError, TaskbridgeError: the refusal is final, or
                the server has refused temporarily for ``timeout`` seconds.
        """
        self._refusals.begin()
        if is_temporary(error) and not self._refusals.is_over:
            return pause(error)
        if error.get("code") == "unavailable":
            raise ResultsUnavailable(str(error.get("message")))
        raise refusal(error)

    def _fold(self, message: JobEvent) -> bool:
        """Take an event; return whether it is new."""
        event = self._event(message)
        if event is None or not self.snapshot.apply(event, message.get("totals")):
            return False
        self.cursor = message.get("cursor") or self.cursor
        return self._novelty.take(event)

    def _event(self, message: object) -> Event | None:
        try:
            event = Event.decode(message)
        except EventError:
            return None
        return event if event.job == self.snapshot.job else None
