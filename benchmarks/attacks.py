"""What each attack costs an honest client beside it: p99 of the time from a report to it."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import add_async_mode, new_stack  # noqa: E402

from support.attacks import ATTACKS, LIMITS, Target  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.witness import Witness  # noqa: E402

#: p99 under attack, beside p99 without.
TARGET = 3.0


def p99(seen: dict[str, Any]) -> float:
    """Return the 99th percentile of what an honest client saw, in milliseconds."""
    return statistics.quantiles(seen["latencies"], n=100)[98] * 1000


def look(witness: Witness, seconds: float, target: Target, name: str | None) -> dict[str, Any]:
    """Return what an honest client sees, while an attack is repeated as often as there is time."""
    deadline = time.monotonic() + seconds
    witness.begin(seconds)
    repeated, ended = 0, ""
    while name is not None and time.monotonic() < deadline:
        try:
            ATTACKS[name](target)
            repeated += 1
        except (AssertionError, OSError) as error:
            # Of an attack without a pause, the limits on all of them may end one; that is told.
            ended = str(error).partition("\n")[0]
            time.sleep(0.05)
    return {**witness.end(), "repeated": repeated, "ended": ended}


def measure(seconds: float, names: list[str], mode: str) -> list[dict[str, Any]]:
    """Return, for each attack, p99 with it and without, and what was lost."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        node = RabbitMQ(Path(folder) / "rabbitmq")
        node.folder.mkdir()
        stack = new_stack(mode, Path(folder) / "stack", node.start().new_vhost(), **LIMITS)
        try:
            server, job = stack.start_server(), str(uuid.uuid4())
            witness = Witness(stack, job)
            target = Target(stack.bridge, "127.0.0.1", stack.port, job, log=lambda: server.output)
            look(witness, seconds, target, None)
            for name in names:
                quiet = look(witness, seconds, target, None)
                under = look(witness, seconds, target, name)
                found.append(
                    {
                        "attack": name,
                        "quiet": p99(quiet),
                        "under": p99(under),
                        "lost": quiet["lost"] + under["lost"],
                        "repeated": under["repeated"],
                        "ended": under["ended"],
                    }
                )
            witness.close()
        finally:
            stack.stop()
            node.stop()
    return found


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each look (%(default)s)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_async_mode(parser)
    parser.add_argument("attacks", nargs="*", help="default all")
    options = parser.parse_args()
    found = measure(options.seconds, options.attacks or list(ATTACKS), options.async_mode)
    # One quiet look is short: the median of all of them is what an honest client sees.
    quiet = statistics.median(one["quiet"] for one in found)
    for one in found:
        one["ratio"] = one["under"] / quiet
    if options.json:
        print(json.dumps(found))
        return
    print(f"p99 without an attack: median {quiet:.2f} ms of {len(found)} looks")
    print(f"{'attack':<48}{'p99 (ms)':>9}{'ratio':>7}{'times':>7}{'lost':>6}")
    for one in sorted(found, key=lambda one: -one["ratio"]):
        row = f"{one['attack']:<48}{one['under']:>9.2f}{one['ratio']:>7.2f}"
        print(f"{row}{one['repeated']:>7}{one['lost']:>6}  {one['ended'][:60]}")
    over = sum(one["ratio"] > TARGET for one in found)
    print(f"{len(found) - over} of {len(found)} below {TARGET:g}×")


if __name__ == "__main__":
    main()
