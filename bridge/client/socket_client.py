"""The Socket.IO connection of Python clients: messages in order, and a refusal as an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engineio
import socketio

from bridge.errors import JobNotFound, ServerUnavailable, TaskbridgeError, TokenError
from bridge.protocol.event import NAMESPACE

__all__ = ["SocketClient", "is_temporary", "refusal"]

#: What an error of the protocol is to a Python client, by its code; others are TaskbridgeError.
ERRORS: dict[str, type[TaskbridgeError]] = {
    "not_found": JobNotFound,
    "unauthorized": TokenError,
    "wrong_shard": TokenError,
}
#: Codes with which a server refuses a connection that it may admit in a moment.
TEMPORARY = frozenset({"unavailable", "too_many_requests", "internal"})


def refusal(error: Any) -> TaskbridgeError:
    """Return the error that a server's refusal means, with the server's sentence.

    Args:
        error: ``{"code": …, "message": …}`` of the protocol; anything else is an unknown reason.
    """
    error = error if isinstance(error, dict) else {}
    kind = ERRORS.get(str(error.get("code")), TaskbridgeError)
    return kind(str(error.get("message") or "the server refused without a reason"))


def is_temporary(error: Any) -> bool:
    """Whether a refused connection may be admitted in a moment."""
    return isinstance(error, dict) and error.get("code") in TEMPORARY


class _InOrder(engineio.Client):
    """A connection that handles its messages one after the other.

    engineio handles each in a thread of its own, so that the later of two may overtake the other
    (seen once in about 5,000 messages of 56 KiB).
    """

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **{**options, "run_async": False})

    def _read_loop_websocket(self) -> None:
        connection = self.ws
        try:
            super()._read_loop_websocket()
        finally:
            # engineio forgets a connection that was reset, and leaves its socket open.
            connection.shutdown()


class SocketClient(socketio.Client):
    """A client to which events and answers come in the order in which the server sent them.

    Args:
        on_refused: called with the error of each refusal that is not temporary, on the
            connection's own thread: also those of later attempts to connect again.
        options: of ``socketio.Client``.
    """

    def __init__(
        self, on_refused: Callable[[TaskbridgeError], object] | None = None, **options: Any
    ) -> None:
        super().__init__(handle_sigint=False, **options)
        self._on_refused = on_refused
        self._refusal: Any = None
        # python-socketio hands what the server says about a refusal to this handler alone.
        self.on("connect_error", self._note_refusal, namespace=NAMESPACE)

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder

    def dial(self, url: str, auth: Any, path: str) -> None:
        """Connect to ``/jobs``, at the first attempt or not at all.

        Args:
            url: of the socket server.
            auth: ``{"token": …}``, or what returns it.
            path: of Socket.IO at the server.

        Raises:
            ServerUnavailable: no server answers, or it admits nobody at the moment.
            TokenError, TaskbridgeError: the server refused, for the reason that the error says.
        """
        self._refusal = None
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"], "socketio_path": path}
        try:
            self.connect(url, auth=auth, **options)
        except socketio.exceptions.ConnectionError as error:
            if self._refusal is None:
                text = f"no socket server answers at {url}: start it, or set TASKBRIDGE_URL"
                raise ServerUnavailable(text) from error
            if is_temporary(self._refusal):
                raise ServerUnavailable(str(self._refusal.get("message"))) from error
            raise refusal(self._refusal) from error

    def _note_refusal(self, error: Any = None, *_: Any) -> None:
        if not isinstance(error, dict):
            return  # the text of a connection that failed: no server answered
        self._refusal = error.get("data") or error
        if self._on_refused and not is_temporary(self._refusal):
            self._on_refused(refusal(self._refusal))
