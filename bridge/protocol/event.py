"""``Event``: one event about one task of one job, and its form as JSON. Pure, no broker."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import get_args

from bridge.errors import EventError
from bridge.protocol.event_checks import check
from bridge.protocol.json_types import Ending, EventType, JobEvent, JSONObject

__all__ = [
    "CALL",
    "MAX_EVENT_BYTES",
    "MAX_LOG_BYTES",
    "MAX_META_BYTES",
    "MAX_RESULT_BYTES",
    "NAMESPACE",
    "RESERVED",
    "SERVER_MADE",
    "TALK",
    "TERMINAL",
    "TYPES",
    "Event",
    "EventType",
    "cut",
    "finite_json",
    "room_of_job",
    "room_of_owner",
]

TYPES: frozenset[str] = frozenset(get_args(EventType))
#: Types that only a server sends, to its own clients: a task is silent, the estimate of the time to
#: wait and to run, and whether the path to the job's workers is disturbed.
SERVER_MADE: frozenset[str] = frozenset({"stalled", "estimate", "disturbed"})
#: Types of events that do not change the state of a task that runs.
TALK: frozenset[str] = frozenset({"progress", "log", "output"})
#: Types after which a run sends nothing more.
TERMINAL: frozenset[str] = frozenset(get_args(Ending))

#: Socket.IO namespace of all of taskbridge's own traffic.
NAMESPACE = "/jobs"

VERSION = 1
#: Largest event on the wire, in bytes of JSON.
MAX_EVENT_BYTES = 64 * 1024
#: Largest log line, in bytes of UTF-8.
MAX_LOG_BYTES = 8 * 1024
#: Largest meta that a run may set with ``set_meta``, in bytes of JSON.
MAX_META_BYTES = 4 * 1024
#: Largest result that an event carries, in bytes of JSON.
MAX_RESULT_BYTES = 16 * 1024
#: Names of the protocol's own Socket.IO events, which an application's own event may not have.
RESERVED = frozenset(
    {
        "connect",
        "connect_error",
        "disconnect",
        "draining",
        "job",
        "pushes_dropped",
        "token_expiring",
        "token_renewed",
    }
)
#: Maximum ids of following tasks of a canvas: in one event, and per job in a server.
MAX_FOLLOWERS = 50
#: Fields of ``data`` that :meth:`Event.decode` moves to ``notes``, since clients do not get them:
#: counters of the emitter, the trace context, counts of dropped ends, where its end is delivered.
NOTES = frozenset({"emitter", "trace", "unreported", "webhook"})
#: Name of a job's call in the trace context of its first ``queued`` event. Servers of 0.1.0 remove
#: the whole context, so that no version sends a call to clients.
CALL = "taskbridge-call"


# Not frozen: creating a frozen instance takes as long as checking all of its fields.
@dataclass(slots=True, kw_only=True)
class Event:
    """One event of one task of a job; treated as immutable.

    ``run`` is the number of the execution, greater for a newer one (0 for ``queued``), ``seq``
    counts the events of a run that must not be lost, ``tick`` the ``progress`` events since the
    last of them, ``at`` is in seconds since the epoch.
    """

    job: str
    task: str
    type: EventType
    at: float
    name: str = ""
    owner: str | None = None
    run: int = 0
    seq: int = 0
    tick: int = 0
    data: JSONObject = field(default_factory=dict)
    #: Fields of ``data`` for servers only; see ``NOTES``. ``call`` is the call that the archive
    #: keeps, to run the job again.
    notes: JSONObject = field(default_factory=dict)
    #: Whether the run sends nothing after this.
    terminal: bool = field(init=False, repr=False, compare=False)
    #: Whether a server created the event, in place of a run from which no event came.
    verdict: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A server asks for both some ten times for each event.
        self.terminal = self.type in TERMINAL
        ruled = self.terminal or self.type == "retrying"
        self.verdict = self.type in SERVER_MADE or (ruled and self.data.get("verdict") is True)

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key of the event among the events of its task."""
        return (self.run, self.seq, self.tick)

    def encode(self) -> JobEvent:
        """Return the event as the JSON object of the protocol; ``data`` is shared, not copied."""
        # Not dataclasses.asdict, which copies all of `data` and takes longer than sending it.
        return {
            "v": VERSION,
            "job": self.job,
            "task": self.task,
            "type": self.type,
            "at": self.at,
            "name": self.name,
            "owner": self.owner,
            "run": self.run,
            "seq": self.seq,
            "tick": self.tick,
            "data": self.data,
        }

    @classmethod
    def decode(cls, message: object) -> Event:
        """Check a JSON object and return it as an event.

        Raises:
            EventError: it is not an event; the message names the field.
        """
        if not isinstance(message, dict):
            raise EventError("an event must be a JSON object")
        if message.get("v") != VERSION:
            raise EventError(f"an event's v must be {VERSION}")
        check(message)
        data = message["data"]
        return cls(
            job=message["job"],
            task=message["task"],
            type=message["type"],
            at=message["at"],
            name=message["name"],
            owner=message["owner"],
            run=message["run"],
            seq=message["seq"],
            tick=message["tick"],
            data=data,
            notes={} if NOTES.isdisjoint(data) else _notes(data),
        )


def _notes(data: JSONObject) -> JSONObject:
    """Remove the notes from an event's data, and a job's call from its trace context."""
    found = {name: data.pop(name) for name in NOTES & data.keys()}
    trace = found.get("trace")
    if isinstance(trace, dict) and isinstance(call := trace.pop(CALL, None), dict):
        found["call"] = call
        if not trace:
            del found["trace"]
    return found


#: Shared encoder: creating one takes as long as encoding a small event.
_COMPACT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def room_of_job(job: str) -> str:
    """Return the Socket.IO room of the clients that watch one job."""
    return f"job:{job}"


def room_of_owner(owner: str) -> str:
    """Return the Socket.IO room of the clients that see all jobs of one owner."""
    return f"owner:{owner}"


def cut(text: str, most: int) -> str:
    """Return text, shortened so that it takes at most ``most`` bytes as JSON.

    A character takes between one and twelve bytes as JSON.
    """
    text = text[:most]
    if 12 * len(text) > most:
        while (size := len(finite_json(text)) - 2) > most:
            text = text[: len(text) * most // size]
    return text


def finite_json(value: object) -> str:
    """Return ``value`` as compact JSON.

    Raises:
        ValueError, TypeError, RecursionError: it is not JSON, or contains NaN or Infinity.
    """
    return _COMPACT.encode(value)
