"""A service and a watcher, run with the code of another version by ``python -m``.

Arguments: what to do, and JSON for it. Prints one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bridge import Bridge


def enqueue(bridge: Bridge, name: str, args: list[Any], options: dict[str, Any]) -> None:
    """Enqueue a task, and print the id of its job."""
    say({"job": bridge.enqueue(name, args, owner="me", **options).id})


def watch(bridge: Bridge, job: str) -> None:
    """Print each event of a job, and then its snapshot."""
    watcher = bridge.watch(job, timeout=60)
    for event in watcher:
        say(event)
    say({"snapshot": watcher.snapshot.encode(), "recovered": watcher.recovered})


def cancel(bridge: Bridge, job: str) -> None:
    """Cancel a job."""
    bridge.cancel(job)


def status(bridge: Bridge, job: str) -> None:
    """Print what is known of a job."""
    say(dict(bridge.status(job)))


def say(what: Any) -> None:
    """Print a line that a reader gets at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with Bridge() as bridge:
        globals()[sys.argv[1]](bridge, *json.loads(sys.argv[2]))
