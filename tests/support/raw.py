"""A client that knows no manners: bytes over TCP, WebSocket frames of any kind, raw packets."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from contextlib import suppress
from typing import Any, Self

from support.frames import check_text

__all__ = ["Raw", "Reply"]

#: Seconds that a server is given to answer or to hang up.
PATIENCE = 10.0
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


class Reply:
    """What a server answered to a plain HTTP request."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        # An answer without a head is one to HTTP/0.9, which has none.
        self.status = int(parts[1]) if len(parts) > 1 and parts[0].startswith("HTTP/") else 0
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}


def _is_whole(raw: bytes) -> bool:
    """Whether all of an answer has come."""
    reply = Reply(raw)
    if "transfer-encoding" in reply.headers:
        return reply.body.endswith(b"0\r\n\r\n")
    return len(reply.body) >= int(reply.headers.get("content-length", 0))


def _joined(chunks: bytes) -> bytes:
    """Return a body that came in chunks."""
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        if not (length := int(size, 16)):
            break
        body, chunks = body + chunks[:length], chunks[length + 2 :]
    return body


class Raw:
    """One TCP connection.

    Args:
        host: of the server.
        port: of the server.
        address: of its own; any of loopback's.
        receive_buffer: bytes that the kernel takes for it; small ones fill sooner.
    """

    def __init__(
        self, host: str, port: int, address: str = "127.0.0.2", receive_buffer: int | None = None
    ) -> None:
        self.host, self.port = host, port
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((address, 0))
        self.socket.connect((host, port))
        self._received = b""
        self._acks = 0
        #: Of its connection to a namespace.
        self.sid = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send bytes; return whether the server still took them."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def request(self, line: str, *headers: str, body: bytes = b"") -> Reply:
        """Send an HTTP request and return the answer; status 0 if there was none."""
        self.request_head(line, *headers, body=body)
        return self.reply()

    def request_head(self, line: str, *headers: str, body: bytes = b"") -> None:
        """Send an HTTP request."""
        head = "\r\n".join([line, f"Host: {self.host}:{self.port}", *headers, "", ""])
        self.send(head.encode("latin-1") + body)

    def reply(self) -> Reply:
        """Return the next HTTP answer."""
        raw = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in raw and (more := self.socket.recv(4096)):
                raw += more
            while not _is_whole(raw) and (more := self.socket.recv(65536)):
                raw += more
        reply = Reply(raw or b" 0")
        if "transfer-encoding" in reply.headers:
            reply.body = _joined(reply.body)
        return reply

    def upgrade(
        self,
        *headers: str,
        path: str = "/socket.io/?EIO=4&transport=websocket",
        behind: bytes = b"",
    ) -> Reply:
        """Ask for a WebSocket, and send what is ``behind`` with it."""
        key = base64.b64encode(os.urandom(16)).decode()
        reply = self.request(
            f"GET {path} HTTP/1.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
            body=behind,
        )
        if reply.status == 101:
            self._received = reply.body  # the first frames may have come with it
        return reply

    def open(self) -> Self:
        """Get as far as an Engine.IO connection that has shown no token.

        Raises:
            ConnectionError: the server does not let it.
        """
        if self.upgrade().status != 101 or not self.message().startswith("0{"):
            self.close()
            raise ConnectionError("the server does not open a WebSocket")
        return self

    def connect(self, token: Any, namespace: str = "/jobs") -> str:
        """Ask to be let in to a namespace and return the answer."""
        self.say(f"40{namespace},{json.dumps({'token': token})}")
        answer = self.message()
        if answer.startswith(f"40{namespace},{{"):
            self.sid = json.loads(answer.partition(",")[2])["sid"]
        return answer

    def frame(
        self,
        payload: bytes,
        opcode: int = TEXT,
        *,
        final: bool = True,
        masked: bool = True,
        rsv: int = 0,
        claim: int | None = None,
    ) -> bool:
        """Send a frame of any kind; ``claim`` is the length that it says it has."""
        length = len(payload) if claim is None else claim
        first = bytes([(0x80 if final else 0) | (rsv << 4) | opcode])
        bit = 0x80 if masked else 0
        if length < 126:
            size = struct.pack("!B", bit | length)
        elif length < 65536:
            size = struct.pack("!BH", bit | 126, length)
        else:
            size = struct.pack("!BQ", bit | 127, length)
        # A mask of zeros leaves the payload as it is.
        return self.send(first + size + (b"\0\0\0\0" if masked else b"") + payload)

    def say(self, text: str) -> bool:
        """Send a text message."""
        return self.frame(text.encode("utf-8", "surrogatepass"))

    def ask(self, name: str, *payload: Any) -> Any:
        """Send a request on ``/jobs`` and return its answer."""
        self._acks += 1
        self.say(f"42/jobs,{self._acks}{json.dumps([name, *payload])}")
        begin = f"43/jobs,{self._acks}["
        while not (message := self.message()).startswith(begin):
            assert message, "the server hung up instead of answering"
        return json.loads(message[len(begin) - 1 :])[0]

    def message(self, timeout: float = PATIENCE) -> str:
        """Return the next text message, answering pings; empty once the server has hung up."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            opcode, payload = self._message(deadline)
            if opcode == TEXT and payload == b"2":
                self.say("3")
            elif opcode == TEXT:
                text = payload.decode()
                check_text(text)
                return text
            elif opcode in (CLOSE, None):
                return ""
        raise AssertionError(f"no message within {timeout:g} s")

    def _message(self, deadline: float) -> tuple[int | None, bytes]:
        """Return kind and payload of the next message, whose frames are joined."""
        opcode, payload, final = self._frame(deadline - time.monotonic())
        while opcode == TEXT and not final:
            _, more, final = self._frame(deadline - time.monotonic())
            payload += more
        return opcode, payload

    def _frame(self, timeout: float) -> tuple[int | None, bytes, bool]:
        try:
            first, second = self._take(2, timeout)
            length = second & 127
            if length > 125:
                size = self._take(2 if length == 126 else 8, timeout)
                length = int.from_bytes(size)
            return first & 15, self._take(length, timeout), bool(first & 0x80)
        except (ConnectionError, EOFError):
            return None, b"", True

    def _take(self, size: int, timeout: float) -> bytes:
        self.socket.settimeout(max(0.01, timeout))
        while len(self._received) < size:
            if not (more := self.socket.recv(65536)):
                raise EOFError
            self._received += more
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def await_end(self, timeout: float = PATIENCE) -> None:
        """Read until the server hangs up.

        Raises:
            AssertionError: it does not within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.socket.settimeout(max(0.01, deadline - time.monotonic()))
                if not self.socket.recv(65536):
                    return
        except ConnectionError:
            return
        except TimeoutError:
            pass
        raise AssertionError(f"the server has not hung up within {timeout:g} s")
