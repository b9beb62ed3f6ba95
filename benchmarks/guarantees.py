"""What journal, tokens, limits, stream and confirms each cost, in microseconds of CPU."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fanout import deliver, served
from processes import HERE, Flood, Server
from report import Samples, compare, report
from servers import COLUMNS, Brokers, raise_file_limit
from side_by_side import parser, rounds

from support.stack import Stack

#: Clients, each in a room of its own, so that nothing is shared by many deliveries.
CLIENTS = 500
#: Events a second of the run that is paced, and how many.
RATE, PACED = 1000, 8000
ALL_ON = "all on"
#: What ``without.py`` switches off.
VARIANTS = {
    ALL_ON: "",
    "without journal": "journal",
    "without tokens": "tokens",
    "without limits": "limits",
    "without stream": "stream",
    "without all four": "journal tokens limits stream",
}
#: Ways of ``flood.py``.
PUBLISHERS = {ALL_ON: "taskbridge", "without confirms": "taskbridge, unconfirmed"}
AT_ONCE, SLOWLY = "a delivery, at once", f"a delivery, {RATE:,} events/s"
CONNECT, EVENT = "a connect", f"an event at its publisher, {RATE:,} events/s"


class Variants(Brokers):
    """A RabbitMQ node for our server, all of it or without some guarantees.

    Args:
        folder: where it keeps what it writes.
        mode: library that serves ours.
        variables: of its environment.
    """

    def __init__(self, folder: Path, mode: str, variables: dict[str, str]) -> None:
        super().__init__(folder, [mode], (), variables)
        self._kind = COLUMNS[mode]

    def stack(self, folder: Path, kind: str, **variables: str) -> Stack:
        """Return a stack for a server of a variant."""
        path = os.pathsep.join(map(str, (HERE, HERE.parent / "tests")))
        off = {"WITHOUT": VARIANTS[kind], "PYTHONPATH": path}
        return super().stack(folder, self._kind, **off, **variables)

    def start_server(self, stack: Stack, kind: str) -> Server:
        """Start a server of a variant, and wait until it listens."""
        usual = stack.server_command()
        command = [part.replace("socket_server.wsgi:app", "without:app") for part in usual]
        if command == usual:
            command = [sys.executable, str(HERE / "without.py")]
        stack.server_command = lambda: command  # type: ignore[method-assign]
        return super().start_server(stack, self._kind)


def microseconds(server: Server | Flood, count: int, work: Callable[[], object]) -> float:
    """Return microseconds of CPU that a process takes for each of so many, while work is done."""
    before = server.cpu
    work()
    return 1e6 * (server.cpu - before) / count


def pace(flood: Flood, watchers: Any, count: int) -> None:
    """Publish so many events at the rate, and wait until all have come."""
    wanted = watchers.received + count
    flood.ask(count, RATE)
    watchers.run(lambda: watchers.received >= wanted)


def of_server(running: Variants, kind: str, events: int) -> dict[str, float]:
    """Measure what a server without some guarantees takes."""
    with served(running, kind, CLIENTS, 1) as (server, watchers, stack, jobs):
        flood = Flood(stack, CLIENTS, "log")
        try:
            watchers.connect(jobs[:10])
            rest = jobs[10:]
            connecting = microseconds(server, len(rest), lambda: watchers.connect(rest))
            flow = partial(deliver, watchers, flood, events, 1)
            at_once = microseconds(server, events, flow)
            slowly = microseconds(server, PACED, lambda: pace(flood, watchers, PACED))
        finally:
            flood.end()
        assert not watchers.disordered, f"{watchers.disordered} events out of order"
        assert not watchers.lost, f"{watchers.lost} connections lost"
    return {AT_ONCE: at_once, SLOWLY: slowly, CONNECT: connecting}


def of_publisher(running: Variants, kind: str) -> dict[str, float]:
    """Measure what the process of a task takes to send events, with confirms or without."""
    with served(running, ALL_ON, CLIENTS, 1) as (_, watchers, stack, jobs):
        flood = Flood(stack, CLIENTS, "log", PUBLISHERS[kind])
        try:
            watchers.connect(jobs)
            took = microseconds(flood, PACED, lambda: pace(flood, watchers, PACED))
        finally:
            flood.end()
        assert not watchers.disordered, f"{watchers.disordered} events out of order"
    return {EVENT: took}


def costs(samples: Samples) -> Samples:
    """Return what each guarantee costs: all on, less what it takes without, of the same round."""
    pairs = {name: zip(samples[ALL_ON], samples[name], strict=True) for name in samples}
    return {
        name.removeprefix("without "): [on - off for on, off in pair]
        for name, pair in pairs.items()
        if name != ALL_ON
    }


def comparisons(found: dict[str, Samples]) -> list[dict[str, Any]]:
    """Return what was measured, and what each guarantee costs."""
    made = []
    for figure, samples in found.items():
        ratios = [(name, ALL_ON, None) for name in samples if name != ALL_ON]
        made.append(compare(f"CPU of {figure}", samples, ratios, unit="µs"))
        made.append(compare(f"cost in {figure}", costs(samples), [], unit="µs"))
    return made


def main() -> None:
    """Measure and print the result."""
    command = parser(count=5, several=False)
    command.add_argument("--events", type=int, default=60_000, help="at once; default %(default)s")
    options = command.parse_args()
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        running = Variants(Path(folder), options.async_mode, dict(options.set))
        if not running.kinds:
            sys.exit(1)
        try:
            running.start()
            server = partial(of_server, running, events=options.events)
            found = rounds(options.rounds, list(VARIANTS), server)
            publisher = partial(of_publisher, running)
            found |= rounds(options.rounds, list(PUBLISHERS), publisher)
        finally:
            running.stop()
    report(comparisons(found), as_json=options.json)


if __name__ == "__main__":
    main()
