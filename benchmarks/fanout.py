"""What servers take to deliver events to many clients: ours, the plain recipe, and Node's."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flood import job_of
from processes import Flood, Prober
from servers import NODE, STOCK, Brokers, Measure, is_ours, to_broker
from side_by_side import run
from watchers import Watchers

#: Events that are on their way at most, so that no server is ever far behind.
WINDOW = 200
#: Rooms, clients in each, events in all, and events a second; without, as many as are taken.
SHAPES = {
    "500 clients in rooms of their own, 1,000 events/s": (500, 1, 8000, 1000),
    "500 clients in rooms of their own, at once": (500, 1, 20_000, 0),
    "4,000 clients in one room, 4 events/s": (1, 4000, 32, 4),
    "4,000 clients in one room, at once": (1, 4000, 100, 0),
    "100 rooms of 40 clients, 200 events/s": (100, 40, 1600, 200),
    "100 rooms of 40 clients, at once": (100, 40, 3000, 0),
}
#: Targets of ours to the others', by figure: at least four times the plain recipe's deliveries with
#: six tenths of its memory, and not behind Node.
TARGETS = {
    "deliveries per CPU second": {STOCK: 4.0, NODE: 1.0},
    "connects per CPU second": {NODE: 1.0},
    "KiB per idle client": {STOCK: 0.6, NODE: 1.1},
}


@contextmanager
def served(
    brokers: Brokers, kind: str, rooms: int, each: int, clients: type[Watchers] = Watchers
) -> Iterator[Any]:
    """Yield a server, its clients, the stack, and the clients' jobs with tokens."""
    with tempfile.TemporaryDirectory() as folder:
        stack = brokers.stack(Path(folder) / "stack", kind)
        watchers = clients(stack.port)
        try:
            server = brokers.start_server(stack, kind)
            jobs = [job_of(number) for number in range(rooms)]
            tokens = [(job, stack.token(jobs=[job], scope=["watch"])) for job in jobs]
            yield server, watchers, stack, tokens * each
        finally:
            watchers.close()
            stack.stop()


def health_of(kind: str) -> str:
    """Return a path that a server answers at once."""
    # The others know no such question: what they say to a stranger takes them no longer.
    return "/healthz" if is_ours(kind) else "/socket.io/"


def deliver(watchers: Watchers, flood: Flood, events: int, each: int) -> None:
    """Publish so many events, a window ahead of what has come, and wait until all have come."""
    begun = watchers.received
    while watchers.received - begun < events * each:
        there = (watchers.received - begun) // each
        flood.ask(min(WINDOW, events - flood.asked))
        wanted = min(events, there + WINDOW // 2 if flood.asked < events else events)
        watchers.run(lambda wanted=wanted: watchers.received - begun >= wanted * each)


def fan_out(brokers: Brokers, kind: str, shape: tuple[int, int, int, int]) -> dict[str, float]:
    """Measure deliveries per CPU second of the server, and memory of an idle client."""
    rooms, each, events, rate = shape
    with served(brokers, kind, rooms, each) as (server, watchers, stack, jobs):
        flood = Flood(stack, rooms, "log", to_broker(kind))
        try:
            # What the first few bring in is not theirs.
            watchers.connect(jobs[:10])
            memory, cpu, begun = server.memory, server.cpu, time.perf_counter()
            watchers.connect(jobs[10:])
            count = len(jobs) - 10
            connecting = count / (time.perf_counter() - begun)
            idle = (server.memory - memory) / count / 1024
            connect_cpu = count / (server.cpu - cpu)
            prober = Prober(stack.port, health_of(kind))
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
            "answer while delivering, slowest (ms)": health,
            "connects per second": connecting,
            "connects per CPU second": connect_cpu,
        }


def unwatched(brokers: Brokers, kind: str) -> dict[str, float]:
    """Measure what a server spends on events of which one in a thousand is for anybody."""
    jobs, events = 1000, 20_000
    with served(brokers, kind, 1, 1) as (server, watchers, stack, watched):
        flood = Flood(stack, jobs, "progress", to_broker(kind))
        try:
            watchers.connect(watched)
            watchers.may_skip = True
            cpu = server.cpu
            flood.ask(events, 4000)
            watchers.run(lambda: watchers.newest()[0][1] >= events // jobs)
            return {"events read per CPU second": events / (server.cpu - cpu)}
        finally:
            flood.end()


def main() -> None:
    """Run."""
    shapes: dict[str, Measure] = {
        name: functools.partial(fan_out, shape=shape) for name, shape in SHAPES.items()
    }
    run({**shapes, "1,000 jobs that nobody watches": unwatched}, TARGETS, unit="each")


if __name__ == "__main__":
    main()
