"""A Celery application whose events travel over another broker than its tasks.

Its tasks come over the embedded broker in TASKBRIDGE_HOME, which nothing happens to; its events go
to TASKBRIDGE_BROKER_URL, where a test makes things happen.
"""

from __future__ import annotations

import time

from celery import Celery

from bridge import Settings, install, job, progress

settings = Settings.from_environ()
own = settings.replace(broker_url=None)
app = Celery("split", broker=own.broker, backend=own.results)
app.conf.update(worker_hijack_root_logger=False, task_acks_late=True)
install(app, settings)


@app.task(name="split.steady")
def steady(seconds: float, pause: float = 0.01) -> dict[str, float]:
    """Report all the time, for some seconds of work; return what the calls took, in seconds."""
    calls: list[float] = []
    steps = round(seconds / pause)
    begun = time.perf_counter()
    for number in progress(range(steps), desc="steps"):
        time.sleep(pause)
        for say in (job.log, job.output):
            before = time.perf_counter()
            say(f"{number}\n")
            calls.append(time.perf_counter() - before)
    calls.sort()
    return {
        "wall": time.perf_counter() - begun,
        "median": calls[len(calls) // 2],
        "p99.9": calls[int(len(calls) * 0.999)],
        "max": calls[-1],
    }
