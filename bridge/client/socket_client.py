"""``SocketClient``: a Socket.IO client with messages in order, and refusals as exceptions."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import TypeAlias

import engineio
import socketio

from bridge import extras
from bridge.client.watch_state import is_temporary, refusal
from bridge.errors import ServerUnavailable, SettingsError, TaskbridgeError
from bridge.protocol.event import NAMESPACE

__all__ = ["Auth", "SocketClient", "explain", "http_refusal", "unavailable"]

HIDDEN = (
    "another package named websocket hides websocket-client, without which no job can be watched: "
    "pip uninstall websocket"
)
#: HTTP statuses of a proxy that reaches no server behind it.
PROXY = (502, 503, 504)

#: What a client connects with: ``{"token": …, "renew": …}``.
Auth: TypeAlias = dict[str, str | bool]


class _InOrder(engineio.Client):
    """A connection that handles its messages one after the other.

    engineio handles each message in its own thread, so that the later of two may overtake the other
    (seen once in about 5,000 messages of 56 KiB).
    """

    #: Why the last attempt to connect failed; None if it did not.
    failure: BaseException | None = None

    def _connect_websocket(self, *arguments: object) -> bool:
        self.failure = None
        try:
            return bool(super()._connect_websocket(*arguments))
        except engineio.exceptions.ConnectionError as error:
            self.failure = error.__context__  # engineio leaves it out of its own text
            raise

    def _trigger_event(self, event: str, *args: object, **options: object) -> object:
        return super()._trigger_event(event, *args, **{**options, "run_async": False})

    def _read_loop_websocket(self) -> None:
        connection = self.ws
        try:
            super()._read_loop_websocket()
        finally:
            # engineio forgets a connection that was reset, and leaves its socket open.
            connection.shutdown()


class SocketClient(socketio.Client):
    """A client that handles events and answers in the order in which the server sent them.

    Args:
        on_refused: called, on the connection's own thread, with the exception of each refusal
            that is not temporary, those of reconnects included.
        options: options of ``socketio.Client``.
    """

    def __init__(
        self, on_refused: Callable[[TaskbridgeError], object] | None = None, **options: object
    ) -> None:
        # This client is no page of a browser, and needs no origin that the server allows.
        options["websocket_extra_options"] = {"suppress_origin": True}
        super().__init__(handle_sigint=False, **options)
        self._on_refused = on_refused
        self._refusal: object = None
        # python-socketio passes the server's reason for a refusal to this handler alone.
        self.on("connect_error", self._note_refusal, namespace=NAMESPACE)

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder

    def _handle_disconnect(self, namespace: str) -> None:
        """Connect anew when the server has ended the session, as it does when a token expires.

        python-socketio does not, so that the client would wait for ever. The next connection has a
        new token, or is refused for a reason.
        """
        if self.reconnection and (connection := self.eio.ws) is not None:
            connection.shutdown()  # noticed as a connection that is lost
        else:
            super()._handle_disconnect(namespace)

    def dial(self, url: str, auth: Auth | Callable[[], Auth], path: str) -> None:
        """Connect to the namespace ``/jobs``, in a single attempt.

        Args:
            url: URL of the socket server.
            auth: ``{"token": …}``, or a function that returns it.
            path: path of Socket.IO at the server.

        Raises:
            ServerUnavailable: no server answers, or it refuses temporarily.
            TokenError, TaskbridgeError: the server refused, for the reason that the error says.
            SettingsError: the package websocket-client is missing.
        """
        _check_package()
        self._refusal = None
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"], "socketio_path": path}
        try:
            self.connect(url, auth=auth, **options)
        except socketio.exceptions.ConnectionError as error:
            body = getattr(self.eio.failure, "resp_body", None)
            raise unavailable(self._refusal or http_refusal(body), self.explain(url)) from error

    def explain(self, url: str) -> str:
        """Return why the last attempt to connect failed, and what to change; see :func:`explain`.

        Args:
            url: URL of the socket server.
        """
        failure = self.eio.failure
        return explain(url, failure, getattr(failure, "status_code", None))

    def _note_refusal(self, error: object = None, *_: object) -> None:
        if not isinstance(error, dict):
            return  # the text of a connection that failed: no server answered
        self._refusal = error.get("data") or error
        if self._on_refused and not is_temporary(self._refusal):
            self._on_refused(refusal(self._refusal))


def _check_package() -> None:
    """Raise an error if websocket-client is missing, or hidden by the package ``websocket``."""
    extras.demand("client")
    try:
        from websocket import create_connection  # noqa: F401
    except ImportError:
        raise SettingsError(HIDDEN) from None


def unavailable(error: object, why: str) -> TaskbridgeError:
    """Return the exception for an attempt to connect that failed.

    Args:
        error: the server's error object; None if no server answered.
        why: one sentence for the case that no server answered.
    """
    if error is None:
        return ServerUnavailable(why)
    refused = refusal(error)
    return ServerUnavailable(str(refused)) if is_temporary(error) else refused


def explain(url: str, failure: BaseException | None, status: int | None) -> str:
    """Return why an attempt to connect failed, and what to change.

    Args:
        url: URL of the socket server.
        failure: error of the connection; None if it is not known.
        status: HTTP status of what answered; None if nothing did.
    """
    if isinstance(failure, ssl.SSLError):
        reason = getattr(failure, "verify_message", None) or failure.reason or failure
        return (
            f"no trusted connection to {url} ({reason}): correct the scheme of TASKBRIDGE_URL, "
            "the server's certificate, or SSL_CERT_FILE"
        )
    if status in PROXY:
        return f"a proxy at {url} reaches no socket server (HTTP status {status}): start it"
    if status is not None:
        what = f"what answers at {url} is no socket server (HTTP status {status})"
        return f"{what}: set TASKBRIDGE_URL"
    return f"no socket server answers at {url}: start it, or set TASKBRIDGE_URL"


def http_refusal(body: str | bytes | None) -> object:
    """Return the server's error object from its answer to a WebSocket request; None for none."""
    try:
        told = json.loads(body or "null")
    except ValueError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    return error if isinstance(error, dict) else None
