"""``EventStreams``: admits clients of event streams, as every client of ``/jobs`` is admitted."""

from __future__ import annotations

from typing import Any, cast
from wsgiref.types import WSGIEnvironment

from bridge.protocol.event import NAMESPACE, TERMINAL
from bridge.protocol.request_types import ErrorObject
from bridge.untyped import SocketIOServer
from socket_server.journal.journal import Journal
from socket_server.messages.answer import Body
from socket_server.messages.server_sent import split_id
from socket_server.watching.event_stream import EventStream
from socket_server.watching.namespace import JobsNamespace

__all__ = ["EventStreams"]


class EventStreams:
    """Opens event streams.

    Args:
        server: the Socket.IO server.
        jobs: namespace that answers ``watch``.
        journal: the jobs that the server holds.
    """

    def __init__(self, server: SocketIOServer, jobs: JobsNamespace, journal: Journal) -> None:
        self._server, self._jobs, self._journal = server, jobs, journal

    def open(
        self, environ: WSGIEnvironment, auth: object, job: str, id: str | None
    ) -> EventStream | ErrorObject | None:
        """Open a stream of a job's events, with the state lock held.

        Args:
            environ: WSGI environment of the request.
            auth: auth payload, as a Socket.IO client sends it.
            job: id of the job.
            id: a cursor, or the id of the last event that the client has of an earlier stream.

        Returns:
            The stream; why it is refused; or None if the client knows that the job has ended.
        """
        cursor, knows_the_end = split_id(id)
        refusal: ErrorObject | None
        client, refusal = self._server.open_stream(environ, auth)
        if refusal is not None:
            return refusal
        stream = EventStream(self._server, client, self._journal, self._jobs.clients)
        try:
            refusal = self._watch(stream, client, job, cursor)
        except BaseException:
            stream.close()
            raise
        if refusal is None and not (knows_the_end and stream.state() in TERMINAL):
            return stream
        stream.close()
        return refusal

    def _watch(
        self, stream: EventStream, client: Any, job: str, cursor: str | None
    ) -> ErrorObject | None:
        """Begin a stream with the answer to ``watch``; return why that is refused, if it is."""
        sid = self._server.manager.sid_from_eio_sid(client.sid, NAMESPACE)
        answer: Any = self._jobs.on_watch(sid, {"job": job, "cursor": cursor})
        if not isinstance(answer, Body):
            return cast("ErrorObject", answer["error"])
        stream.begin(sid, job, answer)
        return None
