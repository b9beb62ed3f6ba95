"""What a server takes to deliver events to many clients, ours and the plain recipe in turn."""

from __future__ import annotations

import argparse
import functools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from flood import job_of  # noqa: E402
from report import compare, report  # noqa: E402
from watchers import Watchers  # noqa: E402

from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402

HERE = Path(__file__).parent
#: Limits are against strangers; here all clients come from one address, all at once.
LIMITS = {
    "TASKBRIDGE_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    "TASKBRIDGE_CONNECTS_PER_SECOND": "1000000",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": "1000000",
    "TASKBRIDGE_OWNER_REQUESTS_PER_SECOND": "1000000",
    "TASKBRIDGE_REQUESTS_PER_SECOND": "1000000",
}
#: Events that are on their way at most, so that neither server is ever far behind.
WINDOW = 200
TICKS = os.sysconf("SC_CLK_TCK")
#: Rooms, clients in each, events in all, and events a second; without, as many as are taken.
SHAPES = {
    "500 clients in rooms of their own, 1,000 events/s": (500, 1, 8000, 1000),
    "500 clients in rooms of their own, at once": (500, 1, 20_000, 0),
    "4,000 clients in one room, 4 events/s": (1, 4000, 32, 4),
    "4,000 clients in one room, at once": (1, 4000, 100, 0),
    "100 rooms of 40 clients, 200 events/s": (100, 40, 1600, 200),
    "100 rooms of 40 clients, at once": (100, 40, 3000, 0),
}
OURS, STOCK = "taskbridge", "plain recipe"
#: Takes a node and a kind; returns figures.
Measure = Callable[[RabbitMQ, str], dict[str, float]]


class Server:
    """A server process that is measured.

    Args:
        stack: whose port and broker it has.
        kind: ours or the plain recipe.
        variables: more of the environment.
    """

    def __init__(self, stack: Stack, kind: str, **variables: str) -> None:
        self._stack = stack
        if kind == OURS:
            self._process = stack.start_server(**variables)
        else:
            script = str(HERE / "stock_server.py")
            arguments = (stack.settings.events, stack.settings.channel, str(stack.port))
            self._process = stack.start("stock", sys.executable, script, *arguments)
            self._process.await_output("serving on")

    @property
    def cpu(self) -> float:
        """CPU seconds that it took so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def memory(self) -> int:
        """Bytes of memory that it has."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024


class Flood:
    """The publisher's process."""

    def __init__(self, stack: Stack, jobs: int, kind: str, way: str = "broker") -> None:
        arguments = (stack.settings.events, stack.settings.channel, str(jobs), kind, way)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "flood.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.asked = 0

    def ask(self, count: int, rate: float = 0.0) -> None:
        """Have so many more published, at once or so many a second."""
        assert self._process.stdin is not None
        self.asked += count
        self._process.stdin.write(f"{count} {rate}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until all that was asked for once has been published."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Prober:
    """A process that asks a server whether it is well, while others get their events."""

    def __init__(self, stack: Stack, kind: str) -> None:
        # The plain recipe knows no such question: what it says to a stranger takes it no longer.
        path = "/healthz" if kind == OURS else "/socket.io/"
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "prober.py"), str(stack.port), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> float:
        """End it; return the 99th percentile of how long an answer took, in milliseconds."""
        said, _ = self._process.communicate(timeout=60)
        return float(said)


@contextmanager
def served(node: RabbitMQ, kind: str, rooms: int, each: int) -> Iterator[Any]:
    """Yield a server, its clients, the stack, and what was measured while they connected."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), node.new_vhost(), **LIMITS)
        watchers = Watchers(stack.port)
        try:
            server = Server(stack, kind)
            jobs = [job_of(number) for number in range(rooms)]
            tokens = [(job, stack.token(jobs=[job], scope=["watch"])) for job in jobs]
            yield server, watchers, stack, tokens * each
        finally:
            watchers.close()
            stack.stop()


def deliver(watchers: Watchers, flood: Flood, events: int, each: int) -> None:
    """Publish so many events, a window ahead of what has come, and wait until all have come."""
    begun = watchers.received
    while watchers.received - begun < events * each:
        there = (watchers.received - begun) // each
        flood.ask(min(WINDOW, events - flood.asked))
        wanted = min(events, there + WINDOW // 2 if flood.asked < events else events)
        watchers.run(lambda wanted=wanted: watchers.received - begun >= wanted * each)


def fan_out(node: RabbitMQ, kind: str, shape: tuple[int, int, int, int]) -> dict[str, float]:
    """Measure deliveries per CPU second of the server, and memory of an idle client."""
    rooms, each, events, rate = shape
    with served(node, kind, rooms, each) as (server, watchers, stack, jobs):
        flood = Flood(stack, rooms, "log")
        try:
            # What the first few bring in is not theirs.
            watchers.connect(jobs[:10])
            memory, cpu, begun = server.memory, server.cpu, time.perf_counter()
            watchers.connect(jobs[10:])
            count = len(jobs) - 10
            connecting = count / (time.perf_counter() - begun)
            idle = (server.memory - memory) / count / 1024
            connect_cpu = count / (server.cpu - cpu)
            prober = Prober(stack, kind)
            cpu, begun = server.cpu, time.perf_counter()
            if rate:
                flood.ask(events, rate)
                watchers.run(lambda: watchers.received >= events * each)
            else:
                deliver(watchers, flood, events, each)
            spent, seconds = server.cpu - cpu, time.perf_counter() - begun
            health = prober.end()
        finally:
            flood.end()
        assert not watchers.disordered, f"{watchers.disordered} events out of order"
        assert not watchers.lost, f"{watchers.lost} connections lost"
        return {
            "deliveries per CPU second": events * each / spent,
            "deliveries per second": events * each / seconds,
            "KiB per idle client": idle,
            "KiB per active client": (server.memory - memory) / count / 1024,
            "answer while delivering, p99 (ms)": health,
            "connects per second": connecting,
            "connects per CPU second": connect_cpu,
        }


def unwatched(node: RabbitMQ, kind: str) -> dict[str, float]:
    """Measure what a server spends on events of which one in a thousand is for anybody."""
    jobs, events = 1000, 20_000
    with served(node, kind, 1, 1) as (server, watchers, stack, watched):
        flood = Flood(stack, jobs, "progress")
        try:
            watchers.connect(watched)
            watchers.may_skip = True
            cpu = server.cpu
            flood.ask(events, 4000)
            watchers.run(lambda: watchers.newest()[0][1] >= events // jobs)
            return {"events read per CPU second": events / (server.cpu - cpu)}
        finally:
            flood.end()


def rounds(
    count: int, measure: Callable[[str], dict[str, float]]
) -> dict[str, dict[str, list[float]]]:
    """Measure both in turn, in random order each round; return samples by figure and kind."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(count):
        for kind in random.sample((OURS, STOCK), 2):
            for figure, value in measure(kind).items():
                found.setdefault(figure, {}).setdefault(kind, []).append(value)
                print(f"{kind:14}{figure:30}{value:12,.1f}", file=sys.stderr)
    return found


def run(measures: dict[str, Measure], targets: dict[str, float], *, unit: str) -> None:
    """Measure as the command line says, and report.

    Args:
        measures: what each is called, and what takes a node and a kind and returns figures.
        targets: of the ratio of ours to the plain recipe's, by figure.
        unit: of the figures.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of the name of what to measure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    comparisons = []
    with tempfile.TemporaryDirectory() as folder:
        node = RabbitMQ(Path(folder)).start()
        try:
            for name, measure in measures.items():
                if options.only not in name:
                    continue
                found = rounds(options.rounds, functools.partial(measure, node))
                for figure, samples in found.items():
                    wanted = [(OURS, STOCK, targets.get(figure))]
                    comparisons.append(compare(f"{name}: {figure}", samples, wanted, unit=unit))
        finally:
            node.stop()
    report(comparisons, as_json=options.json)


def main() -> None:
    """Run."""
    shapes: dict[str, Measure] = {
        name: functools.partial(fan_out, shape=shape) for name, shape in SHAPES.items()
    }
    # At least four times as many deliveries; at most six tenths of the memory.
    targets = {"deliveries per CPU second": 4.0, "KiB per idle client": 0.6}
    run({**shapes, "1,000 jobs that nobody watches": unwatched}, targets, unit="each")


if __name__ == "__main__":
    main()
