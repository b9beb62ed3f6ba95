"""Server-sent events: the text of an event stream (HTML Living Standard, section 9.2).

Each is what a Socket.IO client of ``/jobs`` gets, in another form; docs/protocol.md has the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bridge.protocol.error_codes import error_object
from bridge.protocol.event import finite_json
from bridge.protocol.frames import EVENTS
from socket_server.concurrency.state_lock import StateLock
from socket_server.messages.answer import Answer, Body
from socket_server.messages.excerpt import Excerpt
from socket_server.messages.strict_json import decode

__all__ = [
    "HEARTBEAT",
    "RETRY",
    "WITHDRAWN",
    "EventStreamAnswer",
    "Translation",
    "end",
    "split_id",
    "translated",
]

#: A comment, which clients ignore.
HEARTBEAT = b":\n\n"
#: Milliseconds after which an ``EventSource`` connects again, as the bounds of a random number, so
#: that the clients of a server that died do not come back all at once.
RETRY = (1000, 3000)
#: Beginnings of Socket.IO packets of ``/jobs``: an event, the event of a job, a disconnect.
ANY, JOB, DISCONNECT = "2/jobs,", '2/jobs,["job",', "1/jobs,"
#: Events of the server itself; others are the application's own.
NOTICES = frozenset(EVENTS) - {"job"}
#: End of the id of ``end``: a client that sends it back knows that the job has ended.
ENDED = "#end"
REASON = "the token or the session has ended, or does not name the job any more: connect anew"


def block(event: str, data: str, id: str | None = None) -> str:
    """Return one event of a stream.

    Args:
        event: its name.
        data: JSON, on one line.
        id: what ``EventSource`` sends as ``Last-Event-ID`` when it connects again; default None
            for that of the event before.
    """
    place = "" if id is None else f"id: {id}\n"
    return f"event: {event}\n{place}data: {data}\n\n"


#: The last event of a stream whose client may not get the job's events any more.
WITHDRAWN = block("refused", finite_json(error_object("unauthorized", REASON))).encode()


def end(state: str, cursor: str | None) -> bytes:
    """Return the last event of a stream whose job has ended.

    Args:
        state: state of the job.
        cursor: cursor of a client that has all events of the job; None without one.
    """
    return block("end", finite_json({"state": state}), f"{cursor or ''}{ENDED}").encode()


def split_id(id: str | None) -> tuple[str | None, bool]:
    """Return the cursor in an id of a stream, and whether it is that of ``end``."""
    cursor = (id or "").removesuffix(ENDED)
    return cursor or None, cursor != (id or "")


def job_block(text: str) -> str:
    """Return the event of a job, whose JSON has its cursor."""
    event: Any = decode(text)
    return block("job", text, event["cursor"])


class Translation:
    """A Socket.IO packet of ``/jobs`` as server-sent events, for all clients of the server."""

    __slots__ = ("data", "is_last")

    def __init__(self, data: bytes, *, is_last: bool = False) -> None:
        self.data = data
        #: Whether the stream ends after it.
        self.is_last = is_last


def translated(packet: str) -> Translation:
    """Translate the text of a Socket.IO packet; one that is no event is left out."""
    if packet.startswith(DISCONNECT):
        return Translation(WITHDRAWN, is_last=True)
    if packet.startswith(JOB):
        return Translation(job_block(packet[len(JOB) : -1]).encode())
    if not packet.startswith(ANY):
        return Translation(b"")
    told: Any = decode(packet[len(ANY) :])
    name, *arguments = told
    if name in NOTICES:
        return Translation(block(name, finite_json(arguments[0])).encode())
    # The name of an application's event may be any text, which must not become a line of its own.
    return Translation(block("push", finite_json({"event": name, "data": arguments})).encode())


class EventStreamAnswer(Answer):
    """The answer to ``watch`` as server-sent events: the snapshot, and then each event.

    Args:
        body: answer to ``watch``; its excerpt has not been read.
        state_lock: the state lock, held while the journal is read; default none.
    """

    def __init__(self, body: Body, state_lock: StateLock | None = None) -> None:
        super().__init__("", Body({}), state_lock)
        self._events = _events(body.excerpt, body.more, body.fields.get("cursor"))
        self._text = block("snapshot", f"{{{body.inside}}}")
        self.size = len(self._text) + sum(map(len, body.more))

    def _fill(self, most: int) -> None:
        while len(self._text) <= most and self._end:
            with self._state_lock:
                text = next(self._events, "")
            self._text += text
            if not text:
                self._end = ""


def _events(excerpt: Excerpt | None, more: Sequence[str], cursor: object) -> Iterator[str]:
    while excerpt is not None and (text := excerpt.event()):
        yield job_block(text)
    yield from map(job_block, more)
    if cursor is not None:
        # Without data it is no event: it only sets the id with which a client comes back.
        yield f"id: {cursor}\n\n"
