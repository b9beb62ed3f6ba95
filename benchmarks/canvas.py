"""What an event costs in jobs of 10 to 100,000 tasks, and what cancel and replay of 10,000 cost."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from journal import RUN, event, start  # noqa: E402
from report import Samples, compare, report  # noqa: E402
from servers import add_async_mode, new_stack  # noqa: E402

from bridge.bus.write_only_manager import new_write_only_manager  # noqa: E402
from bridge.protocol.event import Event, room_of_job  # noqa: E402
from socket_server.delivery.dispatcher import Dispatcher  # noqa: E402
from socket_server.delivery.fan_out import FanOut  # noqa: E402
from socket_server.estimates.durations import Durations  # noqa: E402
from socket_server.estimates.observer import EstimatesObserver  # noqa: E402
from socket_server.estimates.queue_depth import WaitingJobs  # noqa: E402
from socket_server.journal.journal import Journal  # noqa: E402
from socket_server.liveness.disturbances import Disturbances  # noqa: E402
from socket_server.liveness.observer import CancelSweep, LivenessObserver  # noqa: E402
from socket_server.liveness.watchdog import Watchdog  # noqa: E402
from socket_server.observability.metrics import Metrics  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.tools import find  # noqa: E402
from support.wait import until  # noqa: E402

SIZES = (10, 1_000, 10_000, 100_000)
#: Events that are timed, and how many of them at a time.
EVENTS, BATCH = 4_000, 20
#: Tasks of the group that is cancelled, and jobs of one task that are compared with it.
GROUP = 10_000
#: Milliseconds between two questions to each server.
PAUSE = 10

CLIENT = """
import { readFileSync } from "node:fs";
globalThis.window = globalThis.self = globalThis;
const { Snapshot } = await import(process.argv[2]);
const { Decoder } = await import(process.argv[3]);
const stories = JSON.parse(readFileSync(0));
const took = {};
const snapshots = stories.map(({ before }) => {
  const snapshot = new Snapshot("job");
  for (const event of before) snapshot.apply(event);
  return snapshot;
});
for (let at = 0; at < stories[0].after.length; at += 20)
  stories.forEach(({ size, after }, number) => {
    const begun = process.hrtime.bigint();
    for (const text of after.slice(at, at + 20)) {
      const decoder = new Decoder();
      decoder.on("decoded", ({ data }) => {
        if (!snapshots[number].apply(data[1])) throw new Error(text);
      });
      decoder.add(`2/jobs,["job",${text}]`);
      void [snapshots[number].state, snapshots[number].done, snapshots[number].total];
    }
    (took[size] ??= []).push(Number(process.hrtime.bigint() - begun) / 20e3);
  });
console.log(JSON.stringify(took));
"""


class Nobody:
    """Replaces a server's manager: encodes each message as for clients, and does not send it."""

    def deliver_job(self, change: Any, rooms: list[str], latest: Any = None) -> bool:
        """Encode it; say that a client gets it."""
        return bool(change.text) and bool(rooms)


def before(size: int) -> list[Any]:
    """Return what happened so far: half of a job's tasks run, the others wait."""
    tasks = [f"task-{number}" for number in range(size)]
    queued = [{**event("job", "queued", 0, run=0, total=1), "task": task} for task in tasks]
    began = [{**event("job", "started", 0, attempt=1), "task": task} for task in tasks[::2]]
    return queued + began


def after(size: int) -> list[Any]:
    """Return what happens then: tasks move their bars, begin, and end; each event is news."""
    chance, places, events = random.Random(size), {}, []
    for tick in range(1, EVENTS + 1):
        number = chance.randrange(size)
        task = f"task-{number}"
        run, seq = places.get(task, (RUN - number % 2, 0))  # those with even numbers run already
        kind = chance.choice(["progress", "log", "retrying", "started"])
        run, seq = (run + 1, 0) if kind == "started" else (run, seq + 1)
        data = {"bars": [{"n": tick, "position": 0}]} if kind == "progress" else {"attempt": tick}
        events.append({**event("job", kind, seq, tick, run=run, **data), "task": task})
        places[task] = run, seq
    return events


def folded() -> Callable[[Event], Any]:
    """Return what folds an event into a journal."""
    return Journal(max_events=1_000_000).fold


def delivered() -> Callable[[Event], Any]:
    """Return what folds an event, keeps account of it and encodes it for clients."""
    manager: Any = Nobody()
    journal, watchdog = Journal(max_events=1_000_000), Watchdog(stalled_after=15, lost_after=60)
    dispatcher = Dispatcher(journal, FanOut(manager), Metrics())
    disturbances = Disturbances(dispatcher.tell, journal, watchdog, None)
    hearing = LivenessObserver(watchdog, disturbances)
    estimates = EstimatesObserver(WaitingJobs(), Durations())
    dispatcher.observers, dispatcher.state_observers = [hearing], [CancelSweep(journal), estimates]
    return dispatcher.take


def costs(kind: str, take: Callable[[], Callable[[Event], Any]]) -> Samples:
    """Return microseconds of an event, the sizes in turn so that what disturbs one disturbs all."""
    takers, events = {}, {}
    for size in SIZES:
        takers[size] = take()
        for one in before(size):
            takers[size](Event.decode(one))
        events[size] = [Event.decode(one) for one in after(size)]
    samples: Samples = {f"{kind}, {size:,} tasks": [] for size in SIZES}
    for at in range(0, EVENTS, BATCH):
        for size in SIZES:
            batch, fold = events[size][at : at + BATCH], takers[size]
            begun = time.perf_counter()
            for one in batch:
                fold(one)
            took = time.perf_counter() - begun
            samples[f"{kind}, {size:,} tasks"].append(1e6 * took / BATCH)
    return samples


def in_client() -> Samples:
    """Return the same of the page's client, in Node, from a packet's text on."""
    web = ROOT / "socket_server/web"
    modules = web / "static/client.js", web / "node_modules/socket.io-parser/build/esm/index.js"
    texts = {size: [json.dumps(one) for one in after(size)] for size in SIZES}
    stories = [{"size": size, "before": before(size), "after": texts[size]} for size in SIZES]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "fold.mjs")
        script.write_text(CLIENT)
        command = ["node", str(script), *(module.as_uri() for module in modules)]
        answer = subprocess.run(
            command, input=json.dumps(stories), text=True, check=True, stdout=subprocess.PIPE
        )
    took = json.loads(answer.stdout)
    return {f"client, {size:,} tasks": took[str(size)] for size in SIZES}


def sizes() -> list[dict[str, Any]]:
    """Return what an event costs, by size of its job."""
    kinds = {"folded": costs("folded", folded), "delivered": costs("delivered", delivered)}
    kinds["client"] = in_client()
    least = f"{SIZES[0]:,} tasks"
    return [
        compare(
            f"one event, {kind}",
            samples,
            [(name, f"{kind}, {least}", 1.5) for name in list(samples)[1:]],
            unit="µs",
        )
        for kind, samples in kinds.items()
    ]


class Prober:
    """Asks a server over and over whether it is well."""

    def __init__(self, url: str) -> None:
        self.took: list[float] = []
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over.wait(PAUSE / 1e3):
            begun = time.perf_counter()
            with urllib.request.urlopen(f"{self._url}/healthz", timeout=60) as answer:
                answer.read()
            self.took.append(1e3 * (time.perf_counter() - begun))

    def stop(self) -> list[float]:
        """Return the milliseconds that its questions took."""
        self._over.set()
        self._thread.join()
        return self.took


def cancel(stack: Stack, others: list[str]) -> dict[str, float]:
    """Cancel a group that waits; return what its servers' health took meanwhile."""
    from celery import group

    bridge = stack.bridge
    signature = bridge.app.signature("support.add", [1, 2], queue="slow")
    job = bridge.enqueue(group(signature.clone() for _ in range(GROUP)), owner="me")
    until(lambda: bridge.status(job.id)["total"] == GROUP, 120, "the group to be known")
    probers = [Prober(url) for url in others]
    time.sleep(2)
    quiet = [max(prober.took) for prober in probers]
    begun = time.perf_counter()
    bridge.cancel(job.id)
    until(lambda: bridge.status(job.id)["state"] == "cancelled", 120, "the group to be cancelled")
    took = time.perf_counter() - begun
    time.sleep(2)
    slowest = [max(prober.stop()) for prober in probers]
    return {
        "healthz before, slowest (ms)": max(quiet),
        "healthz of either server while it is cancelled, slowest (ms)": max(slowest),
        "until a group of 10,000 is cancelled (ms)": 1e3 * took,
    }


def publish(stack: Stack, jobs: list[str], tasks: list[str]) -> None:
    """Publish that tasks wait, and that their jobs are cancelled."""
    writer = new_write_only_manager(stack.settings)
    for job, task in zip(jobs, tasks, strict=True):
        queued = {**event(job, "queued", 0, run=0, total=1), "task": task}
        writer.emit("job", queued, namespace="/jobs", room=room_of_job(job))
    for job in dict.fromkeys(jobs):
        cancelling = event(job, "cancelling", 0, run=0)
        writer.emit("job", cancelling, namespace="/jobs", room=room_of_job(job))
    writer.close()


def serving(folder: Path, mode: str) -> dict[str, float]:
    """Measure real servers on a RabbitMQ node of its own."""
    (folder / "node").mkdir()
    node = RabbitMQ(folder / "node")
    stacks: list[Stack] = []
    try:
        node.start()
        for name in ("both", "one", "many", "no"):
            stacks.append(new_stack(mode, folder / name, node.new_vhost()))
        both, one, many, empty = stacks
        stacks.append(other := new_stack(mode, folder / "other", both.settings.events))
        both.start_server()
        other.start_server()
        told = cancel(both, [both.url, other.url])
        both.stop()
        other.stop()
        ids = [str(uuid.uuid4()) for _ in range(GROUP)]
        for stack in (one, many):
            stack.start_server()
            stack.stop()
        publish(one, [ids[0]] * GROUP, ids)
        publish(many, ids, ids)
        idle = start(empty)
        took = [max(start(stack) - idle, 0.001) for stack in (one, many)]
        return {
            **told,
            "replay of a cancelled group of 10,000 (ms)": 1e3 * took[0],
            "replay of 10,000 cancelled jobs of one task (ms)": 1e3 * took[1],
            "ratio; target ≤ 2": took[0] / took[1],
        }
    finally:
        for stack in stacks:
            stack.stop()
        node.stop()


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["sizes", "serving"], help="default both")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_async_mode(parser)
    options = parser.parse_args()
    if options.only != "serving":
        report(sizes(), as_json=options.json)
    if options.only != "sizes":
        if find("rabbitmq-server") is None:
            sys.exit("no RabbitMQ: install Debian's package rabbitmq-server")
        with tempfile.TemporaryDirectory() as folder:
            results = serving(Path(folder), options.async_mode)
        if options.json:
            print(json.dumps(results, indent=2))
        for name, value in results.items() if not options.json else ():
            print(f"{name:64}{value:12,.2f}")


if __name__ == "__main__":
    main()
