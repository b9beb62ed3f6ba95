"""Many short tasks that log and push, and the service that enqueues them as groups.

Run as a program it is the service: it enqueues, prints a job's id a line, and stays until all that
it has to tell is sent.
"""

from __future__ import annotations

import sys

from celery import group, shared_task

from bridge import Bridge, Settings, job
from bridge.sending.process_emitters import emitter_for

#: Bytes of an own event.
PUSHED = 48 * 1024
#: Each so many tasks one pushes, and one fails of each so many jobs.
PUSH_EVERY, FAIL_EVERY = 25, 10
OWNER = "somebody"

_bridge: list[Bridge] = []


@shared_task(name="support.short")
def short(of: int, number: int) -> int:
    """Log a line; now and then push, or fail."""
    job.log(f"task {number} of job {of} has something to say, as tasks do: {'x' * 60}")
    if number % PUSH_EVERY == 0:
        if not _bridge:
            _bridge.append(Bridge())
        _bridge[0].push("preview", "y" * PUSHED, owner=OWNER)
    if number == 0 and of % FAIL_EVERY == 0:
        raise RuntimeError("this one fails")
    return number


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def serve(jobs: int, tasks: int) -> None:
    """Enqueue jobs of so many tasks each."""
    bridge = Bridge()
    for of in range(jobs):
        signatures = [short.si(of, number) for number in range(tasks)]
        say(bridge.enqueue(group(signatures), owner=OWNER).id)
    say("enqueued")
    sent = emitter_for(Settings.from_environ()).flush(3600, patient=True)
    say(f"sent {sent}")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
