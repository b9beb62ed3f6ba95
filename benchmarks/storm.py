"""A server dies under all its clients: seconds until they watch again, its memory, and losses."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flood import job_of
from processes import HERE, Flood
from report import report
from servers import NODE, Brokers, brokers, is_ours, to_broker
from side_by_side import comparison, parser, rounds

from support.stack import Stack

#: Clients of one process, which has an address of its own: one has only so many ports.
CLIENTS = 2500
#: Events of each job from the server's death on, and the seconds in which they are published.
EVENTS, SPREAD = 2, 20.0
#: Jobs that are silent are no news here.
SILENCE = {"TASKBRIDGE_STALLED_AFTER": "3600", "TASKBRIDGE_LOST_AFTER": "7200"}
ALL_BACK, PEAK = "all watch again (s)", "peak of the memory (MiB)"
CPU = "CPU of the server until then (s)"
TARGETS = {ALL_BACK: {NODE: 1.0}}
MIB = 2**20


class Crowd:
    """Processes of clients, each of which watches a job.

    Args:
        stack: of the server.
        clients: how many.
    """

    def __init__(self, stack: Stack, clients: int) -> None:
        jobs = [job_of(number) for number in range(clients)]
        tokens = [(job, stack.token(jobs=[job], scope=["watch"], ttl=3600)) for job in jobs]
        parts = [tokens[begin : begin + CLIENTS] for begin in range(0, clients, CLIENTS)]
        self._processes = [self._start(stack.port, *part) for part in enumerate(parts, 1)]

    @staticmethod
    def _start(port: int, number: int, jobs: list[tuple[str, str]]) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "storm_clients.py"), str(port), f"127.0.1.{number}"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin
        process.stdin.write(json.dumps(jobs) + "\n")
        process.stdin.flush()
        return process

    def say(self, text: str) -> None:
        """Say a line to each process."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write(text + "\n")
            process.stdin.flush()

    def answers(self) -> list[Any]:
        """Return what each process says next."""
        found = []
        for process in self._processes:
            assert process.stdout
            line = process.stdout.readline()
            assert line, "a process of clients has failed"
            found.append(json.loads(line))
        return found

    def end(self) -> None:
        """End all of them."""
        for process in self._processes:
            process.kill()
            process.communicate()


@contextmanager
def watching(running: Brokers, kind: str, clients: int) -> Iterator[Any]:
    """Yield a stack, its server, the publisher, and the clients, all of which watch."""
    with tempfile.TemporaryDirectory() as folder:
        stack, flood, crowd = running.stack(Path(folder) / "stack", kind, **SILENCE), None, None
        try:
            server = running.start_server(stack, kind)
            flood = Flood(stack, clients, "log", to_broker(kind))
            crowd = Crowd(stack, clients)
            crowd.answers()
            yield stack, server, flood, crowd
        finally:
            for one in (crowd, flood):
                if one:
                    one.end()
            stack.stop()


def storm(running: Brokers, kind: str, clients: int) -> dict[str, float]:
    """Kill a server under its clients, start it again, and measure how they come back."""
    with watching(running, kind, clients) as (stack, server, flood, crowd):
        before, killed = server.peak, time.time()
        server.kill()
        flood.ask(EVENTS * clients, EVENTS * clients / SPREAD)
        server = running.start_server(stack, kind, crowded=True)
        serving = time.time() - killed
        back = [when - killed for answer in crowd.answers() for when in answer]
        cpu = server.cpu
        flood.wait()
        peak = server.peak
        flood.ask(clients)
        flood.wait()
        crowd.say(str(EVENTS + 1))
        seen = crowd.answers()
    total = {name: sum(one[name] for one in seen) for name in seen[0]}
    if is_ours(kind):
        wrong = {name: total[name] for name in ("missed", "repeated", "not recovered")}
        assert not any(wrong.values()), f"{kind}: {wrong}"
    return {
        "the server listens again (s)": serving,
        "half of the clients watch again (s)": statistics.median(back),
        ALL_BACK: max(back),
        CPU: cpu,
        PEAK: peak / MIB,
        "memory before (MiB)": before / MIB,
        "events missed, of 100": 100 * total["missed"] / (clients * (EVENTS + 1)),
        "events that came twice or late": total["repeated"],
        "attempts to connect, each client": total["attempts"] / clients,
        "refused or sent away": total["refused"],
    }


def main() -> None:
    """Run."""
    command = parser(count=3)
    command.add_argument("--clients", type=int, default=10_000, help="default %(default)s")
    options = command.parse_args()
    with brokers(options.async_mode, (NODE,), dict(options.set)) as running:
        found = rounds(
            options.rounds, running.kinds, lambda kind: storm(running, kind, options.clients)
        )
    title = f"{options.clients:,} clients, server killed"
    report(
        [
            comparison(f"{title}: {figure}", samples, TARGETS.get(figure, {}), "each")
            for figure, samples in found.items()
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
