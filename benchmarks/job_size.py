"""What an event costs a server and takes to a client, in jobs of one task and of 10,000.

All tasks of a job report in turn. What the clients' own code takes is in ``canvas.py``.
"""

from __future__ import annotations

from fanout import served
from latency import percentiles
from processes import Flood
from report import compare, report
from servers import Brokers, brokers
from side_by_side import parser, rounds
from watchers import Watcher, Watchers

from support.stack import Stack
from support.wait import until

SIZES = {f"{size:,} task{'s' * (size > 1)}": size for size in (1, 100, 10_000)}
SMALLEST, *LARGER = SIZES
#: Types of events, and how many a second; 0 for as fast as can be.
LOADS = {
    "lines, 2,000/s": ("log", 2000),
    "bars, 2,000/s": ("progress", 2000),
    "lines, at once": ("log", 0),
}
#: Events of a load: two of each task of the largest job.
EVENTS = 20_000
#: Of a figure, to that of a job of one task.
TARGET = 1.1


class TaskWatchers(Watchers):
    """Clients that check the sequence of each task of their job.

    Args:
        port: of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._places: dict[bytes, tuple[int, int]] = {}
        #: Event of each task after which the task is in ``finished``.
        self.last = 0
        self.finished: set[bytes] = set()

    def _event(self, client: Watcher, message: bytes) -> None:
        task = message.partition(b'"task":')[2][:38]
        client.last = self._places.get(task, (0, 0))
        super()._event(client, message)
        self._places[task] = client.last
        if sum(client.last) >= self.last:
            self.finished.add(task)


def events_of(running: Brokers, kind: str, size: int, type: str, rate: float) -> dict[str, float]:
    """Measure what an event of a job costs, and at a given rate how long it takes to a client."""
    with served(running, kind, 1, 1, TaskWatchers) as (server, watchers, stack, jobs):
        flood = Flood(stack, 1, type, tasks=size)
        try:
            _await_tasks(stack, jobs[0][0], size)
            watchers.connect(jobs)
            watchers.keeps_latencies = True
            watchers.may_skip = type == "progress"
            watchers.last = EVENTS // size
            cpu = server.cpu
            flood.ask(EVENTS, rate)
            watchers.run(lambda: len(watchers.finished) == size)
            spent = server.cpu - cpu
        finally:
            flood.end()
        assert not watchers.disordered, f"{watchers.disordered} events out of order"
        assert not watchers.lost, "the connection was lost"
        times = percentiles(watchers.latencies) if rate else {}
        to_client = {f"to the client, {name} (ms)": times[name] for name in ("p50", "p99") if rate}
        return {"CPU of an event (µs)": 1e6 * spent / EVENTS, **to_client}


def _await_tasks(stack: Stack, job: str, size: int) -> None:
    """Wait until the server knows all tasks of a job."""
    until(lambda: stack.bridge.status(job)["total"] >= size, 60, "the tasks", interval=0.2)


def main() -> None:
    """Measure each size in turn, and report."""
    command = parser(several=False)
    command.add_argument("--only", default="", help="part of the name of what to measure")
    options = command.parse_args()
    ratios: list[tuple[str, str, float | None]] = [(one, SMALLEST, TARGET) for one in LARGER]
    comparisons = []
    with brokers([options.async_mode], (), dict(options.set)) as running:
        [kind] = running.kinds
        for name, (type, rate) in LOADS.items():
            if options.only not in name:
                continue

            def measure(size: str, type: str = type, rate: float = rate) -> dict[str, float]:
                return events_of(running, kind, SIZES[size], type, rate)

            for figure, samples in rounds(options.rounds, list(SIZES), measure).items():
                comparisons.append(compare(f"{name}: {figure}", samples, ratios, unit="each"))
    report(comparisons, as_json=options.json)


if __name__ == "__main__":
    main()
