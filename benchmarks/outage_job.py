"""How much longer a job takes, and how long its calls take, when its broker goes away."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from celery import Celery  # noqa: E402

from bridge.bus import embedded_transport  # noqa: E402
from support.bus import Bus  # noqa: E402
from support.link import Link  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.tools import find  # noqa: E402
from support.wait import until  # noqa: E402

#: What happens to the broker, and how it is undone once the job is over.
Outage = tuple[Callable[[RabbitMQ, Link], Any], Callable[[RabbitMQ, Link], Any]]
OUTAGES: dict[str, Outage] = {
    "healthy": (lambda node, link: None, lambda node, link: None),
    "healthy again": (lambda node, link: None, lambda node, link: None),
    "killed": (lambda node, link: node.kill(), lambda node, link: node.start()),
    "frozen (SIGSTOP)": (lambda node, link: node.freeze(), lambda node, link: node.thaw()),
    "link swallows": (lambda node, link: link.swallow(), lambda node, link: link.heal()),
    "absent from the start": (lambda node, link: None, lambda node, link: node.start()),
}


def measure(node: RabbitMQ, name: str, seconds: float, home: Path) -> dict[str, Any]:
    """Run the job once; return what its calls took, in seconds, and what arrived."""
    happen, undo = OUTAGES[name]
    with Link(node.port) as link:
        url = f"amqp://guest:guest@127.0.0.1:{link.port}//"
        stack = Stack(home, url, TASKBRIDGE_CHANNEL=f"benchmark-{uuid.uuid4().hex[:8]}")
        bus = Bus(stack.settings, node.url)
        command = [sys.executable, "-m", "celery", "-A", "support.split_app", "worker"]
        worker = stack.start("worker", *command, "--concurrency", "1", "--loglevel", "INFO")
        worker.await_output("ready.")
        try:
            if name.startswith("absent"):
                node.stop()
            result = _send(stack, seconds)
            if not name.startswith("absent"):
                until(lambda: bus.events(), 20, "the job to begin")
            happen(node, link)
            took: dict[str, Any] = result.get(timeout=seconds + 60)
            undo(node, link)
            return {**took, **_arrived(bus.await_end(result.id, 60), round(seconds / 0.01))}
        finally:
            stack.stop()


def _send(stack: Stack, seconds: float) -> Any:
    embedded_transport.register()
    own = stack.settings.replace(broker_url=None)
    app = Celery(broker=own.broker, backend=own.results, set_as_current=False)
    return app.send_task("split.steady", [seconds], headers={"taskbridge": {"owner": "me"}})


def _arrived(events: list[Any], count: int) -> dict[str, Any]:
    lines = [line["message"] for event in events for line in event.data.get("lines", [])]
    chunks = [chunk for event in events for chunk in event.data.get("chunks", [])]
    expected = [f"{number}\n" for number in range(count)]
    return {"complete": lines == expected and chunks == expected, "state": events[-1].type}


def measured(seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each outage's name and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        node = RabbitMQ(Path(folder) / "node")
        node.folder.mkdir()
        try:
            node.start()
            for number, name in enumerate(OUTAGES):
                yield name, measure(node, name, seconds, Path(folder) / str(number))
        finally:
            if node.process:
                node.thaw()
            node.stop()


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="work; default %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    if find("rabbitmq-server") is None:
        sys.exit("no RabbitMQ: install Debian's package rabbitmq-server")
    results = [one for _ in range(options.rounds) for one in round_of(options)]
    if options.json:
        json.dump(results, sys.stdout, indent=2)
        print()


def round_of(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what came of each outage, printed as a row unless JSON is wanted."""
    healthy = None
    if not options.json:
        print(f"a job of {options.seconds:g} s that logs and prints 100 times a second\n")
        print(f"{'broker':24}{'wall':>9}{'ratio':>8}{'p99.9':>11}{'max':>11}  arrived")
    for name, one in measured(options.seconds):
        healthy = healthy or one["wall"]
        one |= {"broker": name, "ratio": one["wall"] / healthy}
        if not options.json:
            calls = f"{one['p99.9'] * 1e3:8.3f} ms{one['max'] * 1e3:8.3f} ms"
            print(f"{name:24}{one['wall']:7.2f} s{one['ratio']:8.4f}{calls}  {one['complete']}")
        yield one


if __name__ == "__main__":
    main()
