"""What many ``awatch``es in one event loop cost, while servers are killed and the link moves."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bridge import AsyncWatcher, Bridge  # noqa: E402
from support.link import Link  # noqa: E402
from support.ports import free_port  # noqa: E402
from support.process import Process  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import until  # noqa: E402

LINES = 20
KIB = 1024
#: Seconds between two looks at the clock in the event loop.
TICK = 0.002
#: Seconds for each step.
PATIENCE = 300.0


def rss() -> int:
    """Return bytes of memory that this process has resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Stalls:
    """The longest times for which the event loop ran nothing else."""

    #: Seconds that passed, and seconds of CPU that the loop's thread took meanwhile.
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self) -> None:
        """Note how late the loop comes back, until cancelled."""
        while True:
            begun, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            self.wall.append(time.perf_counter() - begun - TICK)
            self.cpu.append(time.thread_time() - used)

    def told(self) -> dict[str, float]:
        """Return milliseconds."""
        over = sum(one > 0.05 for one in self.cpu)
        return {
            "longest stall, CPU ms": max(self.cpu) * 1e3,
            "longest stall, wall ms": max(self.wall) * 1e3,
            "stalls over 50 ms of CPU": over,
        }


class Run:
    """Two servers behind a link, a worker, and watches.

    Args:
        stack: the stack.
        count: number of jobs, each with a watch.
    """

    def __init__(self, stack: Stack, count: int) -> None:
        self._stack, self._count = stack, count
        self._ports = [stack.port, free_port()]
        self._servers = [self._serve(port) for port in self._ports]
        self._link = Link(self._ports[0])
        url = f"http://127.0.0.1:{self._link.port}"
        self._bridge = Bridge(settings=replace(stack.settings, url=url))
        self._jobs = [
            stack.bridge.enqueue("support.counts", [LINES], owner="me").id for _ in range(count)
        ]
        self._watches: list[AsyncWatcher] = []
        self._lines: list[list[str]] = []

    def _serve(self, port: int) -> Process:
        server = self._stack.start(
            "server", *self._stack.server_command(), TASKBRIDGE_PORT=str(port)
        )
        server.await_output("serving on")
        return server

    async def follow(self, job: str) -> None:
        """Watch a job to its end."""
        lines: list[str] = []
        self._lines.append(lines)
        self._watches.append(watch := self._bridge.awatch(job))
        async for event in watch:
            lines += [line["message"] for line in event["data"].get("lines", [])]

    async def measure(self) -> dict[str, float]:
        """Return what was found."""
        await asyncio.to_thread(__import__, "bridge.client.asynchronous.connection")
        gc.collect()
        before, stalls, begun = rss(), Stalls(), time.perf_counter()
        measuring = asyncio.ensure_future(stalls.measure())
        watches = [asyncio.ensure_future(self.follow(job)) for job in self._jobs]
        await self._soon(lambda: sum(one.snapshot.total for one in self._watches) == self._count)
        complete, grown = time.perf_counter() - begun, rss() - before
        connections = sum(map(len, self._bridge._connections._open.values()))
        cpu = time.thread_time()
        disturbing = asyncio.to_thread(self._disturb)
        await asyncio.gather(*watches, disturbing)
        measuring.cancel()
        wanted = [f"line {number}" for number in range(LINES)]
        return {
            "watches": self._count,
            "connections": connections,
            "seconds until all watch": complete,
            "KiB a watch": grown / KIB / self._count,
            "lines missing, twice or out of order": sum(one != wanted for one in self._lines),
            "watches that tell of a gap": sum(not one.recovered for one in self._watches),
            **stalls.told(),
            "CPU of the loop, ms a watch": (time.thread_time() - cpu) * 1e3 / self._count,
        }

    async def _soon(self, condition: object) -> None:
        await asyncio.to_thread(until, condition, PATIENCE)  # type: ignore[arg-type]

    def _disturb(self) -> None:
        """Kill a server, move to the other one, and kill that."""
        self._stack.start_worker("--pool", "threads", "--concurrency", "16")
        self._until(0.2)
        self._servers[0].kill()
        self._servers[0] = self._serve(self._ports[0])
        self._until(0.4)
        self._link.point(self._ports[1])
        self._until(0.6)
        self._servers[1].kill()
        self._servers[1] = self._serve(self._ports[1])

    def _until(self, part: float) -> None:
        wanted = part * self._count * LINES
        until(lambda: sum(map(len, self._lines)) >= wanted, PATIENCE, f"{wanted} lines")


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watches", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("rabbitmq", "stack"):
            Path(folder, name).mkdir()
        node = RabbitMQ(Path(folder, "rabbitmq"))
        stack = Stack(Path(folder, "stack"), node.start().new_vhost())
        try:
            told = asyncio.run(Run(stack, options.watches).measure())
        finally:
            stack.stop()
            node.stop()
    if options.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name:40}{value:12,.1f}")


if __name__ == "__main__":
    main()
