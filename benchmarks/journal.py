"""What the journal holds and takes in, how fast a server replays, and how soon it answers."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import kombu  # noqa: E402
import socketio  # noqa: E402
from processes import Flood  # noqa: E402
from servers import LIMITS, add_async_mode, new_stack  # noqa: E402

from bridge.bus import stream  # noqa: E402
from bridge.bus.write_only_manager import new_write_only_manager  # noqa: E402
from bridge.protocol.event import Event, room_of_job  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from socket_server.journal.journal import Journal  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.tools import find  # noqa: E402

JOBS = 10_000
#: Events that are there when a server starts.
REPLAYED = 100_000
RUN = 1763846400123456


def event(job: str, kind: str, seq: int, tick: int = 0, run: int = RUN, **data: Any) -> Any:
    """Return an event as it comes over the bus."""
    told = {"job": job, "task": job, "name": "workers.jobs.checksum", "owner": "me", "type": kind}
    return {"v": 1, **told, "run": run, "seq": seq, "tick": tick, "at": time.time(), "data": data}


def bar(n: int) -> dict[str, Any]:
    """Return a bar as it travels."""
    numbers = {"n": n, "total": 100, "rate": 12.5, "eta": 3.2, "elapsed": 1.5}
    texts = {"desc": "files", "unit": "file", "postfix": ""}
    return {"position": 0, "unit_scale": False, "closed": False, **numbers, **texts}


def life(job: str) -> Iterator[Any]:
    """Yield the events of a job without log lines."""
    yield event(job, "queued", 0, run=0, total=1)
    yield event(job, "started", 0, attempt=1, total=1)
    for tick in range(1, 6):
        yield event(job, "progress", 0, tick, bars=[bar(tick), bar(tick)])
    yield event(job, "succeeded", 1, result=7)


def size() -> float:
    """Return bytes that a job takes in the journal."""
    texts = [json.dumps(one) for _ in range(JOBS) for one in life(str(uuid.uuid4()))]
    tracemalloc.start()
    journal = Journal()
    for text in texts:
        journal.fold(Event.decode(json.loads(text)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(journal)


def folding(count: int = 50_000) -> tuple[float, float]:
    """Return events a second that are folded, and that are checked and folded."""
    jobs = [str(uuid.uuid4()) for _ in range(1000)]
    places = dict.fromkeys(jobs, (0, 0))
    messages = [event(job, "started", 0, attempt=1) for job in jobs]
    for _ in range(count):
        job = random.choice(jobs)
        seq, tick = places[job]
        progress = random.random() < 0.8
        places[job] = seq, tick = (seq, tick + 1) if progress else (seq + 1, 0)
        data = {"bars": [bar(tick), bar(tick)]} if progress else {"lines": [{"message": "a line"}]}
        messages.append(event(job, "progress" if progress else "log", seq, tick, **data))
    begun = time.perf_counter()
    events = [Event.decode(message) for message in messages]
    checked = time.perf_counter()
    journal = Journal()
    for one in events:
        journal.fold(one)
    ended = time.perf_counter()
    return len(events) / (ended - checked), len(events) / (ended - begun)


def publish(settings: Settings, messages: list[Any]) -> None:
    """Publish events, each when the one before it was confirmed."""
    writer = new_write_only_manager(settings)
    for message in messages:
        writer.emit("job", message, namespace="/jobs", room=room_of_job(message["job"]))
    writer.close()


def fill(stack: Stack) -> None:
    """Publish log lines of five thousand jobs, which a server that starts then has to read."""
    with kombu.Connection(stack.settings.events) as connection:
        exchange = kombu.Exchange(stack.settings.channel, "fanout", durable=False)
        stream.declare(connection, exchange, stack.settings)
    flood = Flood(stack, 5000, "log")
    flood.ask(REPLAYED - 5000)
    flood.wait()
    flood.end()


def start(stack: Stack) -> float:
    """Start a server and return the seconds until it has caught up."""
    begun = time.perf_counter()
    stack.start("server", *stack.server_command())
    while True:
        try:
            with urllib.request.urlopen(f"{stack.url}/readyz", timeout=2):
                return time.perf_counter() - begun
        except OSError:
            time.sleep(0.01)


def answers(stack: Stack, jobs: list[str], count: int) -> list[float]:
    """Return milliseconds that each of many ``watch`` took, with 500 events a second coming in."""
    over = threading.Event()

    def tell() -> None:
        writer = new_write_only_manager(stack.settings)
        for tick in range(1, 1_000_000):
            due = time.perf_counter() + 0.02
            for job in random.sample(jobs, 10):
                message = event(job, "progress", 0, tick, bars=[bar(tick)])
                writer.emit("job", message, namespace="/jobs", room=room_of_job(job))
            if over.wait(max(0.0, due - time.perf_counter())):
                break
        writer.close()

    teller = threading.Thread(target=tell)
    teller.start()
    client = socketio.Client()
    token = {"token": stack.token(owner="me", scope="watch")}
    client.connect(stack.url, auth=token, namespaces=["/jobs"], transports=["websocket"])
    took = []
    for job in random.sample(jobs, count):
        begun = time.perf_counter()
        assert client.call("watch", {"job": job}, namespace="/jobs")["ok"]
        took.append((time.perf_counter() - begun) * 1e3)
        client.call("unwatch", {"job": job}, namespace="/jobs")
    over.set()
    teller.join()
    client.disconnect()
    return took


def serving(folder: Path, mode: str) -> dict[str, float]:
    """Measure a real server on a RabbitMQ node of its own."""
    (folder / "node").mkdir()
    node = RabbitMQ(folder / "node")
    stacks = []
    try:
        node.start()
        names = ("empty", "full", "asked")
        stacks = [new_stack(mode, folder / name, node.new_vhost(), **LIMITS) for name in names]
        empty = start(stacks[0])
        fill(stacks[1])
        replayed = start(stacks[1])
        jobs = [str(uuid.uuid4()) for _ in range(JOBS)]
        kinds = [("queued", {"run": 0, "total": 1}), ("started", {"attempt": 1, "total": 1})]
        messages = [event(job, kind, 0, **data) for job in jobs for kind, data in kinds]
        publish(stacks[2].settings, messages)
        start(stacks[2])
        took = answers(stacks[2], jobs, 300)
    finally:
        for stack in stacks:
            stack.stop()
        node.stop()
    percentiles = statistics.quantiles(took, n=100)
    return {
        "events replayed a second": REPLAYED / max(replayed - empty, 0.001),
        "watch, p50 (ms)": percentiles[49],
        "watch, p99 (ms)": percentiles[98],
    }


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of folding; default %(default)s")
    add_async_mode(parser)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    if find("rabbitmq-server") is None:
        sys.exit("no RabbitMQ: install Debian's package rabbitmq-server")
    rates = [folding() for _ in range(options.rounds)]
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "bytes of a job without log lines": size(),
            "events folded a second": statistics.median(fold for fold, _ in rates),
            "events checked and folded a second": statistics.median(both for _, both in rates),
            **serving(Path(folder), options.async_mode),
        }
    if options.json:
        json.dump(results, sys.stdout, indent=2)
        print()
        return
    targets = dict(zip(results, ("≤ 3,328", "≥ 50,000", "", "≥ 12,000", "", "≤ 50"), strict=True))
    for name, value in results.items():
        print(f"{name:40}{value:12,.1f}   {targets[name]}")


if __name__ == "__main__":
    main()
