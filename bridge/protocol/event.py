"""``Event``: one event about one task of one job, and its form as JSON. Pure, no broker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeGuard, get_args

from bridge.errors import EventError
from bridge.identifiers import MAX_CHARACTERS, is_encodable
from bridge.protocol.json_types import JobEvent, JSONObject

__all__ = [
    "MAX_EVENT_BYTES",
    "MAX_LOG_BYTES",
    "MAX_META_BYTES",
    "MAX_RESULT_BYTES",
    "NAMESPACE",
    "RESERVED",
    "SERVER_MADE",
    "TERMINAL",
    "TYPES",
    "Event",
    "EventType",
    "cut",
    "finite_json",
    "is_counter",
    "is_identifier",
    "is_number",
    "room_of_job",
    "room_of_owner",
]

EventType = Literal[
    "queued",
    "started",
    "progress",
    "log",
    "output",
    "retrying",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
    "lost",
    "stalled",
    "estimate",
    "disturbed",
]
TYPES: frozenset[str] = frozenset(get_args(EventType))
#: Types that only a server sends, to its own clients: a task is silent, the estimate of the time to
#: wait and to run, and whether the path to the job's workers is disturbed.
SERVER_MADE: frozenset[str] = frozenset({"stalled", "estimate", "disturbed"})
#: Types after which a run sends nothing more.
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "lost"})

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
    }
)
#: Maximum ids of following tasks of a canvas: in one event, and per job in a server.
MAX_FOLLOWERS = 50

#: Largest number that a float holds.
MAX_NUMBER = sys.float_info.max
#: Numbers of a bar that may be unknown.
_UNSURE = ("total", "rate", "eta")
#: Texts of a bar.
_TEXTS = ("desc", "unit", "postfix")


#: Fields of ``data`` that :meth:`Event.decode` moves to ``notes``, since clients do not get them:
#: counters of the emitter, the trace context, counts of dropped ends.
NOTES = ("emitter", "trace", "unreported")


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
    #: Fields of ``data`` for servers only; see ``NOTES``.
    notes: JSONObject = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key of the event among the events of its task."""
        return (self.run, self.seq, self.tick)

    @property
    def verdict(self) -> bool:
        """Whether a server created the event, in place of a run from which no event came."""
        return self.type in SERVER_MADE or (self.terminal and self.data.get("verdict") is True)

    @property
    def terminal(self) -> bool:
        """Whether the run sends nothing after this."""
        return self.type in TERMINAL

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
        if not _is_sound(message):
            for name, check in _CHECKS.items():
                if not check(message.get(name)):
                    raise EventError(
                        f"an event's {name} is missing or not what the protocol allows"
                    )
        data = message["data"]
        for name in data:
            if (check_data := _DATA_CHECKS.get(name)) is not None and not check_data(data[name]):
                raise EventError(f"an event's data.{name} is not what the protocol allows")
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
            notes={name: data.pop(name) for name in NOTES if name in data},
        )


def _is_sound(message: JSONObject) -> bool:
    """Whether all fields have their usual types and values; otherwise ``_CHECKS`` decide.

    A server checks each event; this takes a third of the time of ``_CHECKS``.
    """
    try:
        job, task, name, owner = message["job"], message["task"], message["name"], message["owner"]
        run, seq, tick = message["run"], message["seq"], message["tick"]
        at, data = message["at"], message["data"]
        return (
            type(job) is type(task) is type(name) is str
            and 0 < len(job) <= MAX_CHARACTERS
            and 0 < len(task) <= MAX_CHARACTERS
            and len(name) <= MAX_CHARACTERS
            and (owner is None or (type(owner) is str and 0 < len(owner) <= MAX_CHARACTERS))
            and job.isascii()
            and task.isascii()
            and name.isascii()
            and (owner is None or owner.isascii())
            and message["type"] in TYPES
            and type(run) is type(seq) is type(tick) is int
            and 0 <= run < 2**63
            and 0 <= seq < 2**63
            and 0 <= tick < 2**63
            and type(at) is float
            and 0 <= at < 2**53
            and type(data) is dict
            and _has_names(data)
        )
    except (KeyError, TypeError):
        return False


def _has_names(value: Iterable[object]) -> bool:
    for key in value:  # noqa: SIM110 - a generator takes twice as long
        if type(key) is not str:
            return False
    return True


def is_identifier(value: object) -> TypeGuard[str]:
    """Whether a value is a string of 1 to 255 characters, as ids and owners are."""
    return _short(value) and len(value) > 0


def _short(value: object) -> TypeGuard[str]:
    # Control characters are accepted here: older services did not refuse owners with them.
    return isinstance(value, str) and len(value) <= MAX_CHARACTERS and is_encodable(value)


def is_counter(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number from 0 to 2**63 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _object(value: object) -> TypeGuard[JSONObject]:
    return isinstance(value, dict) and _has_names(value)


#: Whether a field may have a value.
Check: TypeAlias = Callable[[object], bool]

_CHECKS: dict[str, Check] = {
    "job": is_identifier,
    "task": is_identifier,
    "type": lambda value: isinstance(value, str) and value in TYPES,
    "at": lambda value: is_number(value) and 0 <= value < 2**53,
    "name": _short,
    "owner": lambda value: value is None or is_identifier(value),
    "run": is_counter,
    "seq": is_counter,
    "tick": is_counter,
    "data": _object,
}


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _bar(value: object) -> bool:
    if not (_object(value) and is_counter(value.get("position")) and is_number(value.get("n"))):
        return False
    for name in _UNSURE:
        if (number := value.get(name)) is not None and not is_number(number):
            return False
    for name in _TEXTS:
        if not isinstance(value.get(name, ""), str):
            return False
    return is_number(value.get("elapsed", 0))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number within the range of a float; NaN is not."""
    return (type(value) is float or type(value) is int) and -MAX_NUMBER <= value <= MAX_NUMBER


def _line(value: object) -> bool:
    return _object(value) and isinstance(value.get("message"), str)


def _chunk(value: object) -> bool:
    return isinstance(value, str) or (_object(value) and isinstance(value.get("base64"), str))


#: Maximum count, for each type of end, of a job's ends that an event reports as dropped.
MAX_ENDS = 10_000_000
#: Counters of an emitter: those of all versions, and those that version 0.1.0 does not send.
_COUNTERS = ("pid", "published", "failures", "dropped")
_NEWER_COUNTERS = ("held", "dropped_pushes", "dropped_events", "dropped_ends", "shortened_ends")


def _emitter(value: object) -> bool:
    if not (_object(value) and is_identifier(value.get("host")) and is_number(value.get("since"))):
        return False
    if not all(is_counter(value.get(name)) for name in _COUNTERS):
        return False
    return all(is_counter(value.get(name, 0)) for name in _NEWER_COUNTERS)


def _ends(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= TERMINAL:
        return False
    return all(is_counter(count) and count <= MAX_ENDS for count in value.values())


#: Checks of the fields of an event's data that servers and clients compute with.
_DATA_CHECKS: dict[str, Check] = {
    "total": is_counter,
    "more": is_counter,
    "dropped": is_counter,
    "attempt": is_counter,
    "replaced": is_counter,
    "redelivered": lambda value: isinstance(value, bool),
    "bars": _list_of(_bar),
    "lines": _list_of(_line),
    "chunks": _list_of(_chunk),
    "meta": _object,
    "error": _object,
    "reason": lambda value: isinstance(value, str),
    "queue": lambda value: value is None or is_identifier(value) or _object(value),
    "expires_at": lambda value: value is None or is_number(value),
    "retry_at": lambda value: value is None or is_number(value),
    "emitter": _emitter,
    "unreported": _ends,
}


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
