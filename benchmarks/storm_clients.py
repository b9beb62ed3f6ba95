"""Clients of one process, each of which watches a job and comes back when its server has died.

``storm_clients.py PORT ADDRESS``, with jobs and tokens as a line of JSON on stdin. Says a line when
all of them watch, and one, with the times, when all of them watch again. Once a line of stdin tells
the last number of each job's events, it says what they saw of them, and waits for its end.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from watchers import UPGRADE, Watcher, Watchers

#: Seconds until a client tries again: as Socket.IO's, at first 1, each time twice as long, at most
#: 5, each of them random by half.
DELAY, LONGEST_DELAY, RANDOM = 1.0, 5.0, 0.5
#: Clients that connect a second at the beginning, which is not measured.
PACE = 250
#: Seconds without any news after which a run has failed.
PATIENCE = 60.0
#: How a server ends a connection: by a WebSocket's closing frame, which begins with a number from
#: 1000 on, or by Engine.IO's packet.
CLOSING, ENDED = b"\x03", b"1"
#: See ip(7); without it the kernel would take a port that is free at all addresses.
IP_BIND_ADDRESS_NO_PORT = 24


class Returning(Watcher):
    """A client that keeps its cursor, and the number of its newest event."""

    __slots__ = ("attempts", "connected", "cursor", "newest")

    def __init__(self, job: str, token: str) -> None:
        super().__init__(socket.socket(), job, token)
        self.connected, self.attempts, self.newest = False, 0, 0
        self.cursor: str | None = None


class Storm(Watchers):
    """Clients that come back.

    Args:
        port: of the server, on this machine.
        source: address that they connect from.
        jobs: ids of their jobs, with tokens.
    """

    def __init__(self, port: int, source: str, jobs: list[tuple[str, str]]) -> None:
        super().__init__(port)
        self._source, self._number = source, itertools.count()
        self.clients = [Returning(job, token) for job, token in jobs]
        self._due: list[tuple[float, int, Returning]] = []
        for number, client in enumerate(self.clients):
            self._later(client, number / PACE)
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        #: When each client was last answered, by its job.
        self.answered: dict[str, float] = {}
        self.attempts = self.refused = self.unrecovered = self.missed = self.repeated = 0

    def _later(self, client: Returning, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), client))

    def run(self, until: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Read messages, and connect the clients that are due, until a condition holds."""

        def done() -> bool:
            while self._due and self._due[0][0] <= time.monotonic():
                self._connect(heapq.heappop(self._due)[2])
            return until()

        super().run(done, patience)

    def _connect(self, client: Returning) -> None:
        sock = client.socket = socket.socket()
        client.buffer, client.watching = b"", False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self._source, 0))
        sock.connect_ex(("127.0.0.1", self._port))  # how it went is seen when it is ready
        self._clients[sock.fileno()] = client
        self._poll.register(sock.fileno(), select.EPOLLOUT)
        self.attempts += 1

    def _gone(self, client: Watcher) -> None:
        assert isinstance(client, Returning)
        self._poll.unregister(client.socket)
        del self._clients[client.socket.fileno()]
        client.socket.close()
        client.connected = client.watching = False
        delay = min(LONGEST_DELAY, DELAY * 2**client.attempts)
        client.attempts += 1
        self._later(client, delay * random.uniform(1 - RANDOM, 1 + RANDOM))

    def _read(self, fd: int) -> None:
        client = self._clients[fd]
        assert isinstance(client, Returning)
        try:
            if client.connected:
                super()._read(fd)
            elif client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._gone(client)
            else:
                client.connected = True
                self._poll.modify(fd, select.EPOLLIN)
                client.socket.sendall(UPGRADE.format(port=self._port).encode())
        except ConnectionError:  # the server died as something was said to it
            self._gone(client)

    def _refused(self, client: Watcher, answer: bytes) -> None:
        # Also one that was let in: a busy server may take its silence for its end.
        self.refused += 1
        self._gone(client)

    def _message(self, client: Watcher, message: bytes) -> None:
        assert isinstance(client, Returning)
        if not client.connected:
            return  # it was refused by an earlier message
        if message.startswith((b"44/jobs", CLOSING)) or message == ENDED:
            self._refused(client, message)
        elif message.startswith(b"40/jobs"):
            cursor = {"cursor": client.cursor} if client.cursor else {}
            client.say(f'42/jobs,1["watch",{json.dumps({"job": client.job, **cursor})}]')
        elif message.startswith(b"43/jobs,1["):
            self._answer(client, json.loads(message[len(b"43/jobs,1") :])[0])
        else:
            super()._message(client, message)

    def _answer(self, client: Returning, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self._refused(client, b"")
            return
        self.unrecovered += client.cursor is not None and not answer["recovered"]
        for event in answer.get("events", ()):
            self._take(client, event)
        client.cursor = answer.get("cursor", client.cursor)
        client.watching, client.attempts = True, 0
        self.answered[client.job] = time.time()

    def _event(self, client: Watcher, message: bytes) -> None:
        assert isinstance(client, Returning)
        event = json.loads(message[len(b"42/jobs,") :])[1]
        client.cursor = event.get("cursor", client.cursor)
        self._take(client, event)

    def _take(self, client: Returning, event: dict[str, Any]) -> None:
        if event["type"] != "log":
            return  # beginnings, and what a server makes itself, have no number
        number = event["seq"]
        if number <= client.newest:
            self.repeated += 1
        else:
            self.missed += number - client.newest - 1
            client.newest = number


def main() -> None:
    """Watch, and come back."""
    storm = Storm(int(sys.argv[1]), sys.argv[2], json.loads(sys.stdin.readline()))
    count, told = len(storm.clients), list[int]()
    storm.run(lambda: len(storm.answered) == count)
    storm.begin()
    print(count, flush=True)
    storm.run(lambda: len(storm.answered) == count)
    print(json.dumps(list(storm.answered.values())), flush=True)
    threading.Thread(target=lambda: told.append(int(sys.stdin.readline())), daemon=True).start()
    storm.run(lambda: bool(told) and min(one.newest for one in storm.clients) >= told[0])
    seen = {"missed": storm.missed, "repeated": storm.repeated, "refused": storm.refused}
    told_more = {"attempts": storm.attempts, "not recovered": storm.unrecovered}
    print(json.dumps({**seen, **told_more}), flush=True)
    # Thousands of clients that leave would hold up those of the other processes.
    threading.Event().wait()


if __name__ == "__main__":
    main()
