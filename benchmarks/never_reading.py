"""What clients cost that ask for the largest answers and never read: memory, others' latency."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from processes import server_pid  # noqa: E402
from servers import add_async_mode, new_stack, raise_file_limit  # noqa: E402

from support.largest import REQUESTS, publish_largest  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.raw import Raw  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import until  # noqa: E402
from support.witness import Witness  # noqa: E402

#: p99 beside them, beside p99 without; and bytes by which the server may grow for each of them.
TARGET, EACH = 3.0, 64 * 1024
OWNER = "crowd"
#: Connections to the address of each, so that no limit on addresses is in the way.
HOSTS = 10


def p99(seen: dict[str, Any]) -> float:
    """Return the 99th percentile of what an honest client saw, in milliseconds."""
    return statistics.quantiles(seen["latencies"], n=100)[98] * 1000


def memory(pid: int) -> int:
    """Return a process's resident memory, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def connect(stack: Stack, number: int) -> Raw:
    """Return a client whose kernel takes little for it."""
    raw = Raw("127.0.0.1", stack.port, f"127.0.1.{1 + number % HOSTS}", receive_buffer=2048)
    raw.open().connect(stack.token(owner=OWNER, ttl=3600))
    return raw


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return, for each round, p99 without the clients and beside them, and the server's growth."""
    found, clients, seconds = [], options.clients, options.seconds
    limits = {
        "TASKBRIDGE_CONNECTS_PER_SECOND": "10000",
        "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": str(2 * clients),
    }
    if options.unlimited:
        names = ("ANSWER_BYTES", "OWNER_ANSWER_BYTES", "OWNER_REQUESTS")
        limits |= {f"TASKBRIDGE_{name}_PER_SECOND": str(1 << 40) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        node = RabbitMQ(Path(folder) / "rabbitmq")
        node.folder.mkdir()
        url, home = node.start().new_vhost(), Path(folder) / "stack"
        stack = new_stack(options.async_mode, home, url, **limits)
        try:
            pid = server_pid(stack.start_server())
            last = publish_largest(stack.settings, OWNER)
            until(lambda: stack.bridge.status(last)["bars"], 60, "the largest jobs")
            witness = Witness(stack, str(uuid.uuid4()))
            witness.begin(seconds)
            witness.end()
            for _ in range(options.rounds):
                witness.begin(seconds)
                quiet = witness.end()
                with ExitStack() as all_of_them:
                    crowd = [all_of_them.enter_context(connect(stack, n)) for n in range(clients)]
                    before, most = memory(pid), 0
                    witness.begin(seconds)
                    for number, (name, payload) in enumerate(REQUESTS, 1):
                        for one in crowd:
                            one.say(f"42/jobs,{number}{json.dumps([name, payload])}")
                        most = max(most, memory(pid))
                    under = witness.end()
                    most = max(most, memory(pid))
                found.append(
                    {
                        "quiet": p99(quiet),
                        "under": p99(under),
                        "lost": quiet["lost"] + under["lost"],
                        "each": (most - before) / clients,
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
    parser.add_argument("--clients", type=int, default=500, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each look (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument(
        "--unlimited", action="store_true", help="without the limits on an owner's requests"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_async_mode(parser)
    options = parser.parse_args()
    raise_file_limit()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{'p99 without (ms)':>18}{'beside them (ms)':>18}{'ratio':>7}{'lost':>6}{'KiB each':>10}"
    )
    for one in found:
        ratio = one["under"] / one["quiet"]
        row = f"{one['quiet']:>18.2f}{one['under']:>18.2f}{ratio:>7.2f}{one['lost']:>6}"
        print(f"{row}{one['each'] / 1024:>10.1f}")
    ratio = statistics.median(one["under"] / one["quiet"] for one in found)
    each = max(one["each"] for one in found)
    print(f"median ratio {ratio:.2f} (target {TARGET:g}); at most {each / 1024:.1f} KiB each")


if __name__ == "__main__":
    main()
