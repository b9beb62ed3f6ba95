"""Many Socket.IO clients in one process: raw WebSockets, which check every sequence they get."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable

__all__ = ["UPGRADE", "Watcher", "Watchers"]

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PIECE = 1 << 18
#: Seconds without any news after which a run has failed.
PATIENCE = 30.0
EVENT = b'42/jobs,["job",'
#: First byte of a text message in one frame, and the bit of a message's last frame.
WHOLE, FINAL = 0x81, 0x80
SEQUENCE = re.compile(rb'"at": ?([\d.]+).*?"seq": ?(\d+), ?"tick": ?(\d+)')


class Watcher:
    """One client: connected, let in, and watching one job."""

    __slots__ = ("buffer", "job", "last", "parts", "socket", "token", "watching")

    def __init__(self, sock: socket.socket, job: str, token: str) -> None:
        self.socket, self.job, self.token = sock, job, token
        self.buffer, self.watching = b"", False
        #: What has come of a message in several frames.
        self.parts = b""
        #: Sequence and tick of the newest event.
        self.last = (0, 0)

    def say(self, text: str) -> None:
        """Send a short message, masked as a client must (RFC 6455, section 5.3), with zeros."""
        data = text.encode()
        size = bytes([0x80 | len(data)])
        if len(data) > 125:
            size = struct.pack("!BH", 0xFE, len(data))
        self.socket.sendall(b"\x81" + size + b"\0\0\0\0" + data)


class Watchers:
    """Clients of one server.

    Args:
        port: of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._clients: dict[int, Watcher] = {}
        self._waiting = 0
        #: Events that came, those that were not the next of their job, and connections that ended.
        self.received = self.disordered = self.lost = 0
        #: Seconds from an event's making to here; only kept if asked for.
        self.latencies: list[float] = []
        self.keeps_latencies = False
        #: Whether events may be left out, as those of bars that newer ones replaced.
        self.may_skip = False

    def connect(self, jobs: Iterable[tuple[str, str]], at_once: int = 50) -> None:
        """Connect a client for each job and token, and wait until all of them watch."""
        for number, (job, token) in enumerate(jobs, 1):
            sock = socket.create_connection(("127.0.0.1", self._port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = self._clients[sock.fileno()] = Watcher(sock, job, token)
            sock.sendall(UPGRADE.format(port=self._port).encode())
            self._poll.register(sock.fileno(), select.EPOLLIN)
            self._waiting += 1
            if number % at_once == 0:
                self._settle()
            del client
        self._settle()

    def _settle(self) -> None:
        self.run(lambda: self._waiting == 0)

    def run(self, until: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Read what comes until a condition holds.

        Raises:
            TimeoutError: nothing came for too long.
        """
        deadline = time.monotonic() + patience
        while not until():
            ready = self._poll.poll(0.01)
            if ready:
                deadline = time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise TimeoutError(f"{self.received} events, {self._waiting} clients wait")
            for fd, _ in ready:
                self._read(fd)

    def _read(self, fd: int) -> None:
        client = self._clients[fd]
        try:
            data = os.read(fd, PIECE)
        except ConnectionError:
            data = b""
        if not data:
            self._gone(client)
            return
        client.buffer += data
        if not client.watching and client.buffer.startswith(b"HTTP/1.1"):
            head, end, rest = client.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._refused(client, head)
                return
            client.buffer = rest
        self._frames(client)

    def _gone(self, client: Watcher) -> None:
        """Note that a connection ended."""
        self.lost += 1
        self._poll.unregister(client.socket)

    def _refused(self, client: Watcher, answer: bytes) -> None:
        """Note that a server does not want a client."""
        raise AssertionError(answer)

    def _frames(self, client: Watcher) -> None:
        buffer, begin, total = client.buffer, 0, len(client.buffer)
        while total - begin >= 2:
            size, head = buffer[begin + 1], 2
            if size == 126:
                if total - begin < 4:
                    break
                size, head = int.from_bytes(buffer[begin + 2 : begin + 4]), 4
            elif size == 127:
                size, head = int.from_bytes(buffer[begin + 2 : begin + 10]), 10
            if total - begin < head + size:
                break
            self._frame(client, buffer[begin], buffer[begin + head : begin + head + size])
            begin += head + size
        client.buffer = buffer[begin:]

    def _frame(self, client: Watcher, first: int, payload: bytes) -> None:
        if first == WHOLE:
            self._message(client, payload)
            return
        client.parts += payload
        if first & FINAL:  # the last part of a long answer
            message, client.parts = client.parts, b""
            self._message(client, message)

    def _message(self, client: Watcher, message: bytes) -> None:
        if message.startswith(EVENT):
            self._event(client, message)
        elif message == b"2":
            client.say("3")
        elif message.startswith(b"0{"):
            client.say(f'40/jobs,{{"token":"{client.token}"}}')
        elif message.startswith(b"40/jobs"):
            client.say(f'42/jobs,1["watch",{{"job":"{client.job}"}}]')
        elif message.startswith(b"43/jobs,1["):
            assert b'"ok":true' in message.replace(b" ", b""), message
            client.watching = True
            self._waiting -= 1
        else:
            raise AssertionError(message)

    def _event(self, client: Watcher, message: bytes) -> None:
        found = SEQUENCE.search(message)
        assert found, message
        place = (int(found[2]), int(found[3]))
        last, client.last = client.last, place
        self.received += 1
        if place <= last or not (self.may_skip or sum(place) == sum(last) + 1):
            self.disordered += 1
        if self.keeps_latencies:
            self.latencies.append(time.time() - float(found[1]))

    def newest(self) -> list[tuple[int, int]]:
        """Return the newest sequence and tick of each client."""
        return [client.last for client in self._clients.values()]

    def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            with contextlib.suppress(OSError):
                client.socket.close()
        self._poll.close()
