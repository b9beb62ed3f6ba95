"""Many clients of the Socket.IO kind in one process: each watches a job, and checks all it gets."""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import socketio

from bridge.protocol.event import NAMESPACE, Event
from bridge.protocol.snapshot import Snapshot

__all__ = ["Crowd", "Member"]

#: Connections that are made at the same time.
AT_ONCE = 20


class Member:
    """One client, which watches one job across reconnects, with its cursor."""

    def __init__(self, crowd: Crowd, job: str, token: str) -> None:
        self.job, self._token, self._crowd = job, token, crowd
        self.snapshot = Snapshot(job)
        self.cursor: str | None = None
        #: What went wrong: events that came twice, or out of order, or never.
        self.faults: list[str] = []
        #: When connections were made and lost, in monotonic seconds.
        self.connects: list[float] = []
        self.losses: list[float] = []
        self.drained = 0
        self._seqs: dict[tuple[str, int], int] = {}
        self.client: socketio.AsyncClient | None = None

    @property
    def over(self) -> bool:
        """Whether its job has ended."""
        return self.snapshot.ended

    @property
    def connected(self) -> bool:
        """Whether it has a connection."""
        return len(self.connects) > len(self.losses)

    def describe(self) -> str:
        """Return its connection, cursor, snapshot and faults, for the message of a failed test."""
        state = "connected" if self.connected else "not connected"
        return f"{state}, at {self.cursor}: {self.snapshot.encode()} {self.faults}"

    async def begin(self, session: aiohttp.ClientSession) -> None:
        """Connect, and stay connected."""
        self.client = socketio.AsyncClient(
            http_session=session, reconnection_delay=0.3, reconnection_delay_max=2
        )
        self.client.on("connect", self._connected, namespace=NAMESPACE)
        self.client.on("disconnect", self._disconnected, namespace=NAMESPACE)
        self.client.on("job", self._event, namespace=NAMESPACE)
        self.client.on("draining", self._drain, namespace=NAMESPACE)
        await self.client.connect(
            self._crowd.url,
            namespaces=[NAMESPACE],
            auth={"token": self._token},
            transports=["websocket"],
            wait_timeout=30,
            retry=True,
        )

    async def _connected(self) -> None:
        self.connects.append(time.monotonic())
        request = {"job": self.job, **({"cursor": self.cursor} if self.cursor else {})}
        assert self.client
        await self.client.emit("watch", request, namespace=NAMESPACE, callback=self._watched)

    def _disconnected(self, *_: Any) -> None:
        self.losses.append(time.monotonic())

    def _drain(self, _: Any) -> None:
        self.drained += 1

    def _watched(self, answer: dict[str, Any]) -> None:
        if not answer["ok"]:
            self.faults.append(f"refused: {answer['error']}")
            return
        if not answer["recovered"]:
            place, told = self.cursor, answer["cursor"]
            self.faults.append(f"not recovered from {place}: the server was at {told}")
        for message in answer["events"]:
            self._take(message)
        self.cursor = answer["cursor"]
        self.snapshot = Snapshot.decode(answer["snapshot"])

    def _event(self, message: dict[str, Any]) -> None:
        self._take(message)
        self.cursor = message.get("cursor") or self.cursor

    def _take(self, message: dict[str, Any]) -> None:
        event = Event.decode({key: message[key] for key in message if key != "cursor"})
        self.snapshot.apply(event)
        if event.type in ("progress", "cancelling") or event.verdict:
            return
        run = event.task, event.run
        expected = self._seqs.get(run, -1) + 1
        if event.seq != expected:
            self.faults.append(f"{event.type} {event.seq} of run {event.run}, not {expected}")
        self._seqs[run] = max(event.seq, expected)


class Crowd:
    """Clients that run on a thread of their own.

    Args:
        url: where they connect.
        certificate: file with the certificate that they believe; None for plain HTTP.
    """

    def __init__(self, url: str, certificate: Any = None) -> None:
        self.url, self.members = url, list[Member]()
        self._certificate = certificate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._session: aiohttp.ClientSession = self._run(self._open())

    async def _open(self) -> aiohttp.ClientSession:
        trust = ssl.create_default_context(cafile=self._certificate) if self._certificate else True
        connector = aiohttp.TCPConnector(limit=0, ssl=trust)
        return aiohttp.ClientSession(connector=connector)

    def _run(self, work: Coroutine[Any, Any, Any], timeout: float = 120) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def join(self, jobs: list[tuple[str, str]]) -> None:
        """Let clients watch jobs, each given with a token."""
        fresh = [Member(self, job, token) for job, token in jobs]
        self.members += fresh
        self._run(self._begin(fresh))

    async def _begin(self, members: list[Member]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def begin(member: Member) -> None:
            async with gate:
                await member.begin(self._session)

        await asyncio.gather(*map(begin, members))

    def faults(self) -> dict[str, list[str]]:
        """Return what went wrong, by job."""
        return {one.job: one.faults for one in self.members if one.faults}

    def count(self, condition: Callable[[Member], bool]) -> int:
        """Return of how many clients something is true."""
        return sum(map(condition, self.members))

    def close(self) -> None:
        """End all connections."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        # What asyncio left unclosed is found here, and not in a test that comes later.
        self.members.clear()
        del self._session
        gc.collect()

    async def _close(self) -> None:
        await asyncio.gather(
            *(one.client.shutdown() for one in self.members if one.client), return_exceptions=True
        )
        await self._session.close()
