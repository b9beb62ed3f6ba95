"""Event streams: clients of ``/jobs`` that read server-sent events over plain HTTP.

Each is a Socket.IO client of this server in all but its transport, so that limits, send queue,
renewal of sessions and draining are those of every client.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from typing import Any

from engineio.packet import MESSAGE

from bridge.protocol.event import TERMINAL
from bridge.untyped import SocketIOServer
from socket_server.connection.shared_packet import Shared
from socket_server.journal.journal import Journal
from socket_server.messages.answer import Answer, Body
from socket_server.messages.server_sent import (
    HEARTBEAT,
    RETRY,
    WITHDRAWN,
    EventStreamAnswer,
    Translation,
    end,
    translated,
)
from socket_server.watching.clients import Clients

__all__ = ["EventStream"]

#: Seconds without an event after which a comment is sent: proxies end a silent answer, usually
#: after 30 seconds or more.
QUIET = 15.0


class EventStream:
    """The body of an answer: iterates over server-sent events until the job's or the client's end.

    Args:
        server: the Socket.IO server.
        client: Engine.IO socket of the client.
        journal: the jobs that the server holds.
        clients: counts the open streams.
    """

    def __init__(
        self, server: SocketIOServer, client: Any, journal: Journal, clients: Clients
    ) -> None:
        self._server, self._client, self._queue = server, client, client.queue
        self._journal, self._clients = journal, clients
        self._sid = self._job = ""
        #: State of a job that only the result backend knows; None for one that the server held.
        self._stored: str | None = None
        self._pieces, self._is_open = self._read(), True
        clients.streams += 1

    def begin(self, sid: str, job: str, answer: Body) -> None:
        """Begin with a job's snapshot and events, with the state lock held.

        Args:
            sid: id of the client on ``/jobs``.
            job: id of the job.
            answer: answer to ``watch``.
        """
        self._sid, self._job = sid, job
        first = answer.fields["snapshot"]
        self._stored = first["state"] if isinstance(first, dict) else None
        self._client.send(EventStreamAnswer(answer, self._server.state_lock))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """End the client; the web server calls it after the last event, or when it is gone."""
        self._pieces.close()
        with self._server.state_lock:
            self._server.close_stream(self._client)
            self._clients.streams -= self._is_open
            self._is_open = False

    def state(self) -> str | None:
        """Return the state of the job; None once the server does not hold it any more."""
        held = self._job in self._journal
        return self._journal.of(self._job).state if held else self._stored

    def _read(self) -> Generator[bytes, None, None]:
        yield f"retry: {random.randint(*RETRY)}\n\n".encode()
        while (last := self._last()) is None:
            packets = self._take()
            for one in packets or [HEARTBEAT]:
                if one is None or (yield from self._write(one)):
                    return
        yield last

    def _take(self) -> list[Any]:
        """Wait for packets and return them; none if none came for ``QUIET`` seconds."""
        found: list[Any] = []
        try:
            found.append(self._queue.get(timeout=QUIET))
            while found[-1] is not None:
                found.append(self._queue.get(block=False))
        except self._queue.empty:
            pass
        return found

    def _write(self, one: Any) -> Generator[bytes, None, bool]:
        """Yield a packet's bytes; return whether the stream ends after them."""
        piece, is_last = one, False
        if isinstance(one, Answer):
            while not one.done:
                try:
                    yield self._begin(one.piece())
                except OSError:  # the journal has dropped the rest: the client asks again
                    return True
            return False
        if one is not HEARTBEAT:
            translation = _translation(one)
            piece, is_last = translation.data, translation.is_last
        yield self._begin(piece)
        return is_last

    def _begin(self, piece: bytes) -> bytes:
        """Begin to measure how long the client takes for a piece."""
        self._queue.begin()
        return piece

    def _last(self) -> bytes | None:
        """Return what is written last if the stream ends now; None if it goes on."""
        with self._server.state_lock:
            state = self.state()
            if self._queue.queue:
                return None
            if state is not None and state not in TERMINAL:
                return None if self._is_watched() else WITHDRAWN
            held = self._job in self._journal
            cursor = self._journal.cursor(self._job) if held else None
            # Of a job that was evicted nothing is known: the client comes back, and is answered.
            return end(state, cursor) if state else b""

    def _is_watched(self) -> bool:
        """Whether the client gets the job's events: its grant may have been renewed without it."""
        client = self._clients.get(self._sid)
        # A client that was disconnected has that in its queue.
        return client is None or self._job in client.watched


def _translation(one: Any) -> Translation:
    if isinstance(one, Shared):
        return one.translation
    is_message = one.packet_type == MESSAGE and isinstance(one.data, str)
    return translated(one.data if is_message else "")
