"""Milliseconds from a task's call to a client that watches: ours, the plain recipe, and Node's."""

from __future__ import annotations

import statistics
from functools import partial

from fanout import served
from processes import Flood
from servers import STOCK, Brokers, by_call, is_ours, to_broker
from side_by_side import run

#: Jobs, clients of each, events a second in all, their kind, and what they go through: the call
#: that a task makes, or straight to the broker, where one process's calls would not be enough.
LOADS = {
    "200 events/s": (100, 1, 200, "log", "call"),
    "1,000 events/s": (100, 1, 1000, "log", "call"),
    "3,000 events/s": (100, 1, 3000, "log", "broker"),
    "overload: 100,000 deliveries/s asked for": (20, 100, 1000, "progress", "broker"),
}
#: Seconds that a load lasts.
SECONDS = 8.0


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Return figures in milliseconds."""
    hundredths = statistics.quantiles(latencies, n=100)
    figures = {"p50": hundredths[49], "p99": hundredths[98], "max": max(latencies)}
    return {name: 1000 * seconds for name, seconds in figures.items()}


def latency(brokers: Brokers, kind: str, load: tuple[int, int, int, str, str]) -> dict[str, float]:
    """Measure how long events take, and what the server spends on them."""
    rooms, each, rate, events, through = load
    with served(brokers, kind, rooms, each) as (server, watchers, stack, jobs):
        way = to_broker(kind) if through == "broker" else by_call(kind)
        flood = Flood(stack, rooms, events, way)
        try:
            watchers.connect(jobs)
            watchers.keeps_latencies = True
            watchers.may_skip = events == "progress"
            cpu, waited, count = server.cpu, server.waited, int(rate * SECONDS)
            flood.ask(count, rate)
            last = -(-count // rooms)
            watchers.run(lambda: min(map(sum, watchers.newest())) >= last)
            spent, waited = server.cpu - cpu, server.waited - waited
        finally:
            flood.end()
        disordered = f"{kind}: {watchers.disordered} events out of order"
        assert not (is_ours(kind) and watchers.disordered), disordered
        assert not watchers.lost, f"{kind}: {watchers.lost} connections lost"
        delivered = len(watchers.latencies) / (count * each)
        share = {"share delivered": delivered, "CPU seconds": spent}
        share["seconds without a core"] = waited
        share["events out of order"] = watchers.disordered
        return {**percentiles(watchers.latencies), **share}


def main() -> None:
    """Run."""
    measures = {name: partial(latency, load=load) for name, load in LOADS.items()}
    run(measures, {"p99": {STOCK: 1.0}}, unit="ms")


if __name__ == "__main__":
    main()
