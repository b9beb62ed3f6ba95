"""``AsyncSocketClient``: one connection to a server for asyncio, from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace
from typing import cast

import aiohttp
import engineio
import jwt  # noqa: F401 - a first token in an event loop would hold it up
import socketio

from bridge.client.socket_client import explain, http_refusal, unavailable
from bridge.client.watch_state import Answer
from bridge.protocol.event import NAMESPACE
from bridge.protocol.json_types import JSONObject

__all__ = ["AsyncSocketClient", "ConnectionLost"]

#: Seconds for an attempt to connect, for an answer, and for the end of a connection. A server waits
#: up to 12 seconds for the events of a job.
CONNECT, ANSWER, CLOSE = 15.0, 30.0, 2.0
#: Most bytes that are read of an HTTP answer that refuses a WebSocket.
MAX_BODY = 64 * 1024


class ConnectionLost(Exception):
    """The connection has ended, or the server does not answer any more."""


class AsyncSocketClient:
    """A connection that does not reconnect. Handlers get what comes in order, and do not wait.

    Args:
        url: URL of the socket server.
        path: path of Socket.IO at the server.
        handlers: what to call with the message of each event, by the event's name.
    """

    def __init__(self, url: str, path: str, handlers: Mapping[str, Callable[..., object]]) -> None:
        self._url, self._path, self._handlers = url, path, handlers
        self._refusal: object = None
        self._answer: asyncio.Future[Answer | None] | None = None

    @contextlib.asynccontextmanager
    async def connected(self, token: str) -> AsyncIterator[asyncio.Future[None]]:
        """Connect, and close the connection at the end of the block.

        Yields:
            A future that is done when the connection has ended.

        Raises:
            ServerUnavailable: no server answers, or it refuses temporarily.
            TokenError, TaskbridgeError: the server refused, for the reason that the error says.
        """
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._note_answer)
        async with aiohttp.ClientSession(trust_env=True, trace_configs=[trace]) as session:
            self._sio = self._new_client(session)
            try:
                await self._dial(token)
                self._ended = asyncio.ensure_future(self._sio.eio.wait())
                self._ended.add_done_callback(self._lose)
                yield self._ended
            finally:
                await self._close()

    def _new_client(self, session: aiohttp.ClientSession) -> socketio.AsyncClient:
        client = socketio.AsyncClient(
            handle_sigint=False,
            reconnection=False,
            http_session=session,
            request_timeout=CLOSE / 2,  # of WebSockets it limits the end alone
            websocket_extra_options={"max_msg_size": 0},  # an answer may have megabytes
        )
        for event, handler in self._handlers.items():
            client.on(event, handler, namespace=NAMESPACE)
        client.on("connect_error", self._note_refusal, namespace=NAMESPACE)
        return client

    async def _dial(self, token: str) -> None:
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"]}
        auth = {"token": token, "renew": False}
        try:
            async with asyncio.timeout(CONNECT):
                await self._sio.connect(
                    self._url, auth=auth, socketio_path=self._path, wait_timeout=CONNECT, **options
                )
        except Exception as error:
            # Its own errors, and those of what is no server: any of aiohttp, or of a packet.
            raise unavailable(self._refusal, explain(self._url, *_reason(error))) from error

    async def request(
        self, name: str, data: JSONObject, on_answer: Callable[[Answer], object] | None = None
    ) -> Answer:
        """Send a request and return the answer; one request at a time.

        Args:
            name: name of the request.
            data: its message.
            on_answer: called with the answer, before any event that came after it is handled.

        Raises:
            ConnectionLost: the connection ended before the answer.
        """
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._answer = answer

        def take(given: object = None, *_: object) -> None:
            told = cast("Answer", given if isinstance(given, dict) else {})
            if on_answer:
                on_answer(told)
            if not answer.done():
                answer.set_result(told)

        try:
            async with asyncio.timeout(ANSWER):
                await self._sio.emit(name, data, namespace=NAMESPACE, callback=take)
                told = None if self._ended.done() else await answer
        except (TimeoutError, socketio.exceptions.SocketIOError):
            told = None
        if told is None:
            raise ConnectionLost
        return told

    def _lose(self, ended: asyncio.Future[None]) -> None:
        if not ended.cancelled():
            ended.exception()  # asyncio would log it
        if self._answer and not self._answer.done():
            self._answer.set_result(None)

    def _note_refusal(self, error: object = None, *_: object) -> None:
        if isinstance(error, dict):  # else the text of a connection that failed
            self._refusal = error.get("data") or error

    async def _note_answer(
        self, _: object, __: SimpleNamespace, told: aiohttp.TraceRequestEndParams
    ) -> None:
        if told.response.status != 101:
            try:
                body = await told.response.content.readexactly(MAX_BODY)
            except asyncio.IncompleteReadError as error:
                body = error.partial
            self._refusal = http_refusal(body)

    async def _close(self) -> None:
        # Whatever state it is in: an attempt to connect may have been cancelled.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE):
                await self._sio.eio.disconnect(abort=True)
                await self._sio.eio.wait()
                if self._sio.eio.ws:  # engineio forgets one that has gone silent
                    await self._sio.eio.ws.close()


def _reason(error: BaseException) -> tuple[BaseException | None, int | None]:
    """Return the error that an attempt to connect failed with, and the HTTP status, if any."""
    cause = error.__context__
    if isinstance(cause, engineio.exceptions.ConnectionError):
        cause = cause.__context__  # engineio leaves it out of its own text
    if isinstance(cause, aiohttp.WSServerHandshakeError):
        return None, cause.status
    for name in ("certificate_error", "os_error"):
        cause = getattr(cause, name, cause)
    return cause, None
