"""How long requests take while the result backend hangs, beside one that answers."""

from __future__ import annotations

import argparse
import http.client
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from report import Samples, compare, report  # noqa: E402
from servers import add_async_mode, new_stack  # noqa: E402

from support.link import Link  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.raw import Raw  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.stack import Stack  # noqa: E402

#: Seconds between two requests of a kind, of each client.
PAUSES = {"jobs": 0.02, "watch": 0.02, "enqueue": 0.05, "GET /healthz": 0.02}
#: Clients that send each kind of request.
CLIENTS = 2
#: Seconds between two cancels, and two looks for a job that only the result backend could know.
CANCELS = 0.5
STATES = ("answers", "hangs")
#: So that a client is measured, and not its limit.
UNLIMITED = {
    "TASKBRIDGE_ENQUEUES_PER_MINUTE": "1000000",
    "TASKBRIDGE_MAX_UNFINISHED": "1000000",
    "TASKBRIDGE_REQUESTS_PER_SECOND": "1000000",
    "TASKBRIDGE_OWNER_REQUESTS_PER_SECOND": "1000000",
}

Took = dict[str, list[float]]


def client(stack: Stack, **claims: object) -> Raw:
    """Return a client that was let in."""
    raw = Raw("127.0.0.1", stack.port).open()
    raw.connect(stack.token(scope="watch cancel enqueue", ttl=3600, **claims))
    return raw


def asker(stack: Stack, kind: str, number: int) -> Callable[[], object]:
    """Return what makes one request of a kind."""
    if kind == "GET /healthz":
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)

        def get() -> None:
            connection.request("GET", "/healthz")
            connection.getresponse().read()

        return get
    owner = f"{kind}-{number}"
    job = stack.bridge.enqueue("support.add", [1, 2], owner=owner).id
    raw = client(stack, owner=owner)
    request = {"watch": {"job": job}, "enqueue": {"name": "support.add", "args": [1, 2]}}
    return lambda: _ok(raw.ask(kind, request.get(kind, {})))


def _ok(answer: dict[str, object]) -> None:
    assert answer["ok"], answer


def repeat(call: Callable[[], object], pause: float, over: threading.Event) -> list[float]:
    """Call until it is over; return milliseconds of each call."""
    took = []
    while not over.wait(pause * random.uniform(0.5, 1.5)):
        begun = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - begun))
    return took


def disturb(stack: Stack) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what cancels a job, and what asks for one that only the result backend could know."""
    canceller, stranger = client(stack, owner="cancelled"), client(stack, jobs=["unknown"])

    def cancel() -> None:
        job = stack.bridge.enqueue("support.add", [1, 2], owner="cancelled").id
        _ok(canceller.ask("cancel", {"job": job}))

    return cancel, lambda: stranger.ask("watch", {"job": "unknown"})


def measure(stack: Stack, seconds: float) -> Took:
    """Return milliseconds of the requests of each kind, made at once for so many seconds."""
    over, took = threading.Event(), defaultdict[str, list[float]](list)
    cancel, look = disturb(stack)
    calls = [(kind, asker(stack, kind, n), PAUSES[kind]) for kind in PAUSES for n in range(CLIENTS)]
    calls += [("cancel", cancel, CANCELS), ("watch, unknown", look, CANCELS)]

    def run(kind: str, call: Callable[[], object], pause: float) -> None:
        took[kind] += repeat(call, pause, over)

    threads = [threading.Thread(target=run, args=one) for one in calls]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    return took


def one_round(
    folder: Path, node: RabbitMQ, redis: Redis, state: str, options: argparse.Namespace
) -> Took:
    """Measure a server of its own in one state of its result backend."""
    with Link(redis.port) as link:
        results = {"TASKBRIDGE_RESULT_URL": f"redis://127.0.0.1:{link.port}/0"}
        home, url = folder / f"{state}-{time.time_ns()}", node.new_vhost()
        stack = new_stack(options.async_mode, home, url, **results, **UNLIMITED)
        try:
            stack.start_server()
            if state == "hangs":
                link.swallow()
            return measure(stack, options.seconds)
        finally:
            stack.stop()


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each; default %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_async_mode(parser)
    options = parser.parse_args()
    p99: Samples = defaultdict(list)
    p50: Samples = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        node, redis = RabbitMQ(Path(folder)), Redis(Path(folder)).start()
        try:
            node.start()
            for _ in range(options.rounds):
                for state in random.sample(STATES, len(STATES)):
                    took = one_round(Path(folder), node, redis, state, options)
                    for kind, values in took.items():
                        p99[f"{kind}, {state}"].append(statistics.quantiles(values, n=100)[98])
                        p50[f"{kind}, {state}"].append(statistics.median(values))
        finally:
            node.kill()
            redis.stop()
    kinds = [*PAUSES, "cancel", "watch, unknown"]
    ratios = [(f"{kind}, hangs", f"{kind}, answers", None) for kind in kinds]
    report(
        [
            compare("requests, p99", dict(p99), ratios, unit="ms"),
            compare("requests, p50", dict(p50), ratios, unit="ms"),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
