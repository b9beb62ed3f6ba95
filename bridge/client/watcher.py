"""``Watcher``: iterates over one job's events from a socket server, across reconnects."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import socketio

from bridge.client.socket_client import Auth, SocketClient
from bridge.client.watch_state import RECONNECT, Answer, Message, Patience, WatchState
from bridge.errors import ServerUnavailable
from bridge.protocol.event import NAMESPACE
from bridge.protocol.json_types import JobEvent

__all__ = ["Watcher"]

logger = logging.getLogger(__name__)


class Watcher(WatchState):
    """Iterate to get each event of a job, once, in order; the iteration ends with the job.

    Args:
        url: URL of the socket server.
        token: token for the job with scope ``watch``, in whose place comes each one that the
            server renews; or a function that returns one, which is called for each connection and
            before the token expires.
        job: id of the job.
        timeout: seconds without any connection after which to give up; None means never.
        cursor: cursor to resume from; None means the beginning.
        path: path of Socket.IO at the server.
        limit: seconds in all after which to give up; None means never.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        job: str,
        *,
        timeout: float | None = None,
        cursor: str | None = None,
        path: str = "socket.io",
        limit: float | None = None,
    ) -> None:
        super().__init__(job, cursor, timeout)
        self.connected = False
        self._url, self._token, self._timeout, self._path = url, token, timeout, path
        self._whole = Patience(limit)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._client = SocketClient(lambda error: self._put(("refused", error)), **RECONNECT)
        self._client.on("connect", self._on_connect, namespace=NAMESPACE)
        self._client.on("disconnect", self._on_disconnect, namespace=NAMESPACE)
        self._client.on("token_expiring", self._refresh, namespace=NAMESPACE)
        self._client.on("token_renewed", self._keep, namespace=NAMESPACE)
        self._client.on("job", lambda event: self._put(("job", event)), namespace=NAMESPACE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching; the job goes on."""
        self._client.shutdown()

    def __iter__(self) -> Iterator[JobEvent]:
        """Yield events as JSON objects, with their ``cursor``.

        Raises:
            ServerUnavailable: no server answered for ``timeout`` seconds.
            ResultsUnavailable: for ``timeout`` seconds, no server knew the job, and the result
                backend did not answer.
            JobNotFound, TokenError, TaskbridgeError: the server refused, or refused temporarily
                for ``timeout`` seconds.
            TimeoutError: the job had not ended ``limit`` seconds after the iteration began.
        """
        self._whole.begin()
        self._connect()
        try:
            yield from self._events()
        finally:
            self.close()

    def _events(self) -> Iterator[JobEvent]:
        while True:
            match self._next():
                case "refused", error:
                    raise error
                case "watch", answer:
                    yield from self._answered(answer)
                case "job", message if self._fold(message):
                    yield message
            if self.snapshot.ended:
                return

    def _next(self) -> Message:
        """Return the next message, giving up when there was no connection for too long."""
        self._outage.end()
        while not self._whole.is_over:
            try:
                return self._inbox.get(timeout=0.25)
            except queue.Empty:
                if self.connected:
                    self._outage.end()
                    continue
                self._outage.begin()
                if self._outage.is_over:
                    raise ServerUnavailable(self._client.explain(self._url)) from None
        raise TimeoutError

    def _answered(self, answer: Answer) -> Iterator[JobEvent]:
        if answer.get("ok"):
            yield from self._start(answer)
            return
        time.sleep(self._refused(answer.get("error", {})))
        if self.connected:
            with contextlib.suppress(socketio.exceptions.SocketIOError):  # a reconnect sends it
                self._ask()

    def _connect(self) -> None:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        said = ""
        while True:
            try:
                self._client.dial(self._url, self._auth, self._path)
                return
            except ServerUnavailable as error:
                if deadline is not None and time.monotonic() > deadline:
                    raise
                # Without a timeout it tries for ever, and nothing else would say why.
                if self._timeout is None and said != str(error):
                    said = str(error)
                    logger.warning("taskbridge: %s; trying again", said)
                time.sleep(RECONNECT["reconnection_delay"])

    def _on_connect(self) -> None:
        self.connected = True
        self._ask()

    def _ask(self) -> None:
        # The answer comes in order with the events, on the same thread.
        self._client.emit(
            "watch",
            self._request(),
            namespace=NAMESPACE,
            callback=lambda answer: self._put(("watch", answer)),
        )

    def _auth(self) -> Auth:
        if callable(self._token):
            return {"token": self._token(), "renew": False}
        return {"token": self._token, "renew": True}

    def _keep(self, message: object = None, *_: object) -> None:
        token = message.get("token") if isinstance(message, dict) else None
        if isinstance(token, str) and not callable(self._token):
            self._token = token

    def _refresh(self, *_: object) -> None:
        if callable(self._token):
            self._client.emit("refresh", self._auth(), namespace=NAMESPACE)

    def _on_disconnect(self, *_: object) -> None:
        self.connected = False

    def _put(self, message: Message) -> None:
        self._inbox.put(message)
