"""A job of many tasks for a page to show: they begin, move a bar, log and end one by one."""

from __future__ import annotations

import sys
import time

from bridge import progress
from bridge.reporting import current_job
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings

#: Tasks that run at a time.
AT_ONCE = 20


def main() -> None:
    """Run so many tasks of one job over so many seconds: ``page_tasks.py JOB TASKS SECONDS``."""
    job, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    emitter = emitter_for(Settings.from_environ())
    names = [job, *(f"{job}-{number}" for number in range(1, count))]
    running: list[tuple[Run, progress]] = []
    for name in names:
        waits = Run(job=job, task=name, name="benchmark.part", owner="tree", begun=0)
        emitter.put(waits, "queued", {"total": count})
    sys.stdout.write("queued\n")
    sys.stdout.flush()
    for number, name in enumerate(names):
        run = Run(job=job, task=name, name="benchmark.part", owner="tree")
        emitter.add(run)
        current_job.enter(run, emitter)
        parent = {"parent": names[number // 10]} if number else {}
        emitter.put(run, "started", {"attempt": 1, **parent})
        running.append((run, progress(total=1000, desc=name, unit="row")))
        current_job.leave(run.task)
        if len(running) > AT_ONCE:
            end(emitter, *running.pop(0))
        for _, bar in running:
            bar.update(7)
        time.sleep(seconds / count)
    while running:
        end(emitter, *running.pop(0))
    emitter.flush(10)


def end(emitter: object, run: Run, bar: progress) -> None:
    """Close a task's bar and report its end."""
    bar.close()
    emitter.put(run, "succeeded", {"result": None})  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
