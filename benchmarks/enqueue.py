"""What `Bridge.enqueue` costs beside Celery's own `send_task` and `apply_async`, to one broker.

`Bridge.enqueue` waits for the broker's confirm that a queue has the task. Celery does not, by
default; with ``confirm_publish`` and ``mandatory`` it does, and that is what it is compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from celery import Celery  # noqa: E402
from kombu import Connection, Queue  # noqa: E402
from report import Samples, compare, report  # noqa: E402

from bridge import Bridge  # noqa: E402
from bridge.sending.process_emitters import flush_all  # noqa: E402
from bridge.settings import Settings  # noqa: E402

NAME = "benchmark.task"
KWARGS = {"path": "/data/of/a/user", "options": {"recursive": True, "limit": 100}}
ENQUEUE = "Bridge.enqueue"
SIGNATURE = "Bridge.enqueue(signature)"
SEND = "app.send_task"
APPLY = "task.apply_async"
SEND_CONFIRMED = "app.send_task, confirmed"
APPLY_CONFIRMED = "task.apply_async, confirmed"


@contextlib.contextmanager
def broker(url: str | None) -> Iterator[str]:
    """Give a broker's URL: the given one, or that of a RabbitMQ node of our own."""
    if url:
        yield url
        return
    if shutil.which("rabbitmq-server") is None:
        sys.exit("no RabbitMQ: install Debian's package rabbitmq-server, or give --broker-url")
    from support.rabbitmq import RabbitMQ

    with tempfile.TemporaryDirectory() as folder:
        node = RabbitMQ(Path(folder))
        try:
            yield node.start().url
        finally:
            node.stop()


def _task(**_: Any) -> None:
    """Only its name is used."""


def variants(url: str, home: Path) -> dict[str, Callable[[], Any]]:
    """Return what is compared; each publishes one message to the queue ``celery``."""
    settings = Settings(home=home, broker_url=url, result_url="disabled://")
    bridge = Bridge(settings=settings)
    # A task of another application would be published by that, without a confirm.
    signature = bridge.app.signature(NAME)
    # Plain Celery, without taskbridge's signal handlers doing anything for it.
    app, sure = (Celery(broker=url, backend="disabled://", set_as_current=False) for _ in "12")
    sure.conf.broker_transport_options = {"confirm_publish": True}
    task, sure_task = (one.task(name=NAME)(_task) for one in (app, sure))
    taken: dict[str, Any] = {"kwargs": KWARGS, "mandatory": True}
    return {
        ENQUEUE: lambda: bridge.enqueue(NAME, kwargs=KWARGS, owner="user-42"),
        SIGNATURE: lambda: bridge.enqueue(signature, kwargs=KWARGS, owner="user-42"),
        SEND: lambda: app.send_task(NAME, kwargs=KWARGS),
        APPLY: lambda: task.apply_async(kwargs=KWARGS),
        SEND_CONFIRMED: lambda: sure.send_task(NAME, **taken),
        APPLY_CONFIRMED: lambda: sure_task.apply_async(**taken),
    }


def burst(call: Callable[[], Any], calls: int, pause: float) -> tuple[float, float]:
    """Return wall and CPU microseconds a call takes, of a number of calls.

    Args:
        call: what to call.
        calls: how many times.
        pause: seconds between two calls, which are not counted: a service's requests do not come
            without a gap, and the sender's work falls into them.
    """
    flush_all()
    wall = 0.0
    cpu = time.process_time()
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        wall += time.perf_counter() - begun
        if pause:
            time.sleep(pause)
    flush_all()  # the CPU of what `enqueue` put off belongs to it
    return wall / calls * 1e6, (time.process_time() - cpu) / calls * 1e6


def purge(url: str) -> None:
    """Empty the queue, so that a long one slows none of the variants."""
    with Connection(url) as connection:
        queue = Queue("celery").bind(connection.default_channel)
        queue.declare()
        queue.purge()


def measure(url: str, options: argparse.Namespace, home: Path) -> tuple[Samples, Samples]:
    """Return wall and CPU samples of each variant, one a round, in random order."""
    calls = variants(url, home)
    wall: Samples = {name: [] for name in calls}
    cpu: Samples = {name: [] for name in calls}
    for name in calls:
        burst(calls[name], 50, 0)  # connects and fills caches
    gc.disable()
    for _ in range(options.rounds):
        purge(url)
        for name in random.sample(list(calls), len(calls)):
            gc.collect()
            one, other = burst(calls[name], options.calls, options.pause)
            wall[name].append(one)
            cpu[name].append(other)
    purge(url)
    return wall, cpu


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-url", help="default: a RabbitMQ node of our own")
    parser.add_argument("--rounds", type=int, default=40, help="default %(default)s")
    parser.add_argument("--calls", type=int, default=100, help="a round; default %(default)s")
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds between two calls; default none"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    with broker(options.broker_url) as url, tempfile.TemporaryDirectory() as home:
        wall, cpu = measure(url, options, Path(home))
    ratios: list[tuple[str, str, float | None]] = [
        (ENQUEUE, SEND_CONFIRMED, 1.3),
        (ENQUEUE, APPLY_CONFIRMED, 1.3),
        (SIGNATURE, APPLY_CONFIRMED, 1.3),
        # What the confirm costs.
        (ENQUEUE, SEND, None),
        (SEND_CONFIRMED, SEND, None),
    ]
    pause = f", {options.pause * 1000:g} ms between two" if options.pause else ", no pause"
    untargeted = [(one, other, None) for one, other, _ in ratios]
    report(
        [
            compare(f"a call, wall time{pause}", wall, ratios, unit="µs"),
            compare("a call, CPU of all threads", cpu, untargeted, unit="µs"),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
