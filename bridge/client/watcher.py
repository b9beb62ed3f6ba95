"""``Watcher``: iterates over one job's events from a socket server, across reconnects."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypedDict

import socketio

from bridge.client.novelty import Novelty
from bridge.client.socket_client import Auth, SocketClient, is_temporary, refusal
from bridge.errors import EventError, ResultsUnavailable, ServerUnavailable, TaskbridgeError
from bridge.protocol.event import NAMESPACE, Event
from bridge.protocol.json_types import JobEvent, SnapshotData
from bridge.protocol.snapshot import Snapshot

__all__ = ["Watcher"]

logger = logging.getLogger(__name__)

#: Seconds between attempts to reconnect, first and longest, and the random fraction of the delay.
RECONNECT = {"reconnection_delay": 0.2, "reconnection_delay_max": 5, "randomization_factor": 0.5}
#: Seconds before ``watch`` is sent again to a server that refused temporarily.
AGAIN = 1.0


class Refusal(TypedDict, total=False):
    """An error of the protocol."""

    code: str
    message: str


class Answer(TypedDict, total=False):
    """A server's answer to ``watch``; ``error`` is there alone, if not ``ok``."""

    ok: bool
    error: Refusal
    snapshot: SnapshotData
    events: list[JobEvent]
    recovered: bool
    cursor: str | None


#: A message for the iteration: an error to raise, an answer to ``watch``, or an event.
Message: TypeAlias = (
    tuple[Literal["refused"], TaskbridgeError]
    | tuple[Literal["watch"], Answer]
    | tuple[Literal["job"], JobEvent]
)


class Watcher:
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
    ) -> None:
        self.snapshot = Snapshot(job)
        #: Position in the job's events up to which this client has seen them.
        self.cursor: str | None = cursor
        #: False once events were missed that the server could not replay.
        self.recovered = True
        self.connected = False
        #: After a reconnect a server may send events again that were yielded.
        self._novelty = Novelty()
        self._url, self._token, self._timeout, self._path = url, token, timeout, path
        self._refused_since: float | None = None
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
        """
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
                    yield from self._start(answer)
                case "job", message:
                    yield from self._fold(message)
            if self.snapshot.ended:
                return

    def _fold(self, message: JobEvent) -> Iterator[JobEvent]:
        if (event := self._event(message)) and self.snapshot.apply(event, message.get("totals")):
            self.cursor = message.get("cursor") or self.cursor
            if self._novelty.take(event):
                yield message

    def _next(self) -> Message:
        """Return the next message, giving up when there was no connection for too long."""
        since = time.monotonic()
        while True:
            try:
                return self._inbox.get(timeout=0.25)
            except queue.Empty:
                if self.connected:
                    since = time.monotonic()
                elif self._timeout is not None and time.monotonic() - since > self._timeout:
                    raise ServerUnavailable(self._client.explain(self._url)) from None

    def _start(self, answer: Answer) -> Iterator[JobEvent]:
        if not answer.get("ok"):
            error = answer.get("error", {})
            if is_temporary(error) and self._may_ask_again():
                return
            if error.get("code") == "unavailable":
                raise ResultsUnavailable(str(error.get("message")))
            raise refusal(error)
        self._refused_since = None
        self.recovered = self.recovered and answer["recovered"]
        # The snapshot includes the events of the answer.
        self.snapshot = Snapshot.decode(answer["snapshot"], self.snapshot)
        for message in answer["events"]:
            event = self._event(message)
            if event and self._novelty.take(event):
                yield message
        self.cursor = answer["cursor"]

    def _event(self, message: object) -> Event | None:
        try:
            event = Event.decode(message)
        except EventError:
            return None
        return event if event.job == self.snapshot.job else None

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

    def _may_ask_again(self) -> bool:
        """Send ``watch`` again after a pause; False once this went on for ``timeout`` seconds."""
        now = time.monotonic()
        self._refused_since = self._refused_since or now
        if self._timeout is not None and now - self._refused_since >= self._timeout:
            return False
        time.sleep(AGAIN)
        if self.connected:
            with contextlib.suppress(socketio.exceptions.SocketIOError):  # a reconnect sends it
                self._ask()
        return True

    def _on_connect(self) -> None:
        self.connected = True
        self._ask()

    def _ask(self) -> None:
        request = {"job": self.snapshot.job}
        if self.cursor:
            request["cursor"] = self.cursor
        # The answer comes in order with the events, on the same thread.
        self._client.emit(
            "watch",
            request,
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
