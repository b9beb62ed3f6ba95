"""Running jobs for a page to show: so many bars that move all the time, until stdin ends."""

from __future__ import annotations

import sys
import threading
import uuid

from bridge import progress
from bridge.reporting import current_job
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings

#: Seconds between two steps of each bar; the emitter looks ten times a second.
STEP = 0.02


def main() -> None:
    """Run so many jobs of an owner, and print the first one's id: ``page_jobs.py OWNER COUNT``."""
    owner, count = sys.argv[1], int(sys.argv[2])
    emitter = emitter_for(Settings.from_environ())
    bars = []
    for number in range(count):
        name = str(uuid.uuid4())
        run = Run(job=name, task=name, name=f"benchmark.job_{number}", owner=owner)
        emitter.add(run)
        current_job.enter(run, emitter)
        emitter.put(run, "started", {"attempt": 1, "total": 1})
        bars.append((run, progress(total=1_000_000, desc=f"rows of {number}", unit="row")))
        current_job.leave(run.task)
    sys.stdout.write(f"{bars[0][0].job}\n")
    sys.stdout.flush()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(STEP):
        for _, bar in bars:
            bar.update(7)


if __name__ == "__main__":
    main()
