"""The events broker is away for ten minutes while 100,000 short tasks run: what is held."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.outage import Outage  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.tools import find  # noqa: E402


@contextlib.contextmanager
def broker_in(folder: Path) -> Iterator[str]:
    """Run a broker of tasks, and give its URL."""
    node = RabbitMQ(folder)
    try:
        yield node.start().url
    finally:
        node.stop()


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="default %(default)s")
    parser.add_argument("--tasks", type=int, default=1000, help="of each; default %(default)s")
    parser.add_argument("--seconds", type=float, default=600, help="default %(default)s")
    parser.add_argument("--concurrency", type=int, default=2, help="default %(default)s")
    parser.add_argument(
        "--bound",
        type=int,
        default=32 * 2**20,
        help="of the worker's outboxes; default %(default)s bytes",
    )
    options = parser.parse_args()
    for program in ("rabbitmq-server", "redis-server"):
        if find(program) is None:
            sys.exit(f"no {program}: install Debian's packages rabbitmq-server and redis-server")
    with tempfile.TemporaryDirectory() as name:
        bound, folder = {"TASKBRIDGE_OUTBOX_BYTES": str(options.bound)}, Path(name)
        (folder / "tasks").mkdir()
        with (
            broker_in(folder / "tasks") as url,
            Outage(folder, url, options.concurrency, **bound) as outage,
        ):
            outage.warm_up()
            report = outage.run(options.jobs, options.tasks, options.seconds, deadline=3600)
            print(f"away for {report.away:.0f} s, all ended {report.recovery:.0f} s after\n")
            for name, grown in outage.sampler.grown.items():
                print(f"{name:24}{grown}")
    print(f"\njobs: {dict(Counter(report.jobs.values()))}")
    print(f"contradictions: {len(report.contradictions)} {report.contradictions[:5]}")
    counted = sum(one["count"] for one in report.told)
    print(f"own events: {report.pushes} came, {counted} told to be dropped")
    for name, value in report.metrics.items():
        print(f"{name:44}{value:14,.0f}")
    print("\n".join(report.logs))


if __name__ == "__main__":
    main()
