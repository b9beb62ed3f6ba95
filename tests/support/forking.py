"""Programs that use a Bridge before they fork; ``python -m support.forking HOW WHOSE`` is one.

It is also the application, and the configuration, of ``gunicorn --preload``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from celery import Celery

from bridge import Bridge, Settings
from support.wait import until

#: Threads that enqueue while children are forked, children, and tasks of each child.
THREADS, CHILDREN, EACH = 4, 12, 25
#: Seconds that all children may take.
PATIENCE = 60.0


def new_bridge(whose: str) -> Bridge:
    """Return a bridge with a Celery application of taskbridge's, or of the program's own."""
    if whose == "taskbridge":
        return Bridge()
    return Bridge(app=Celery(broker=Settings.from_environ().broker, set_as_current=False))


def fork(work: Callable[[], None]) -> int:
    """Start a child by ``os.fork`` and return its id; it ends as a program does."""
    if pid := os.fork():
        return pid
    work()
    sys.exit()


def fork_by_multiprocessing(work: Callable[[], None]) -> int:
    """Start a child by multiprocessing and return its id."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    assert child.pid
    return child.pid


class Enqueuers:
    """Threads that enqueue until they are told to stop."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge, self._stop = bridge, threading.Event()
        self.sent = [0] * THREADS
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            enqueue(self._bridge, 1)
            self.sent[number] += 1

    def stop(self) -> None:
        """End them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def enqueue(bridge: Bridge, count: int) -> None:
    """Enqueue so many jobs: every other one as a signature."""
    for number in range(count):
        bridge.enqueue("a.task" if number % 2 else bridge.app.signature("a.task"), owner="ada")


def await_all(children: list[int]) -> int:
    """Wait for children; kill those that hang, and return how many did not end well."""
    left = dict.fromkeys(children)
    statuses = []

    def ended() -> bool:
        for pid in list(left):
            if (found := os.waitpid(pid, os.WNOHANG))[0]:
                del left[pid]
                statuses.append(found[1])
        return not left

    try:
        until(ended, PATIENCE)
    except AssertionError:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return len(left) + sum(map(bool, statuses))


def main(how: str, whose: str) -> None:
    """Enqueue in threads, in children forked meanwhile, and in the parent afterwards."""
    start = {"fork": fork, "multiprocessing": fork_by_multiprocessing}[how]
    bridge = new_bridge(whose)
    enqueuers = Enqueuers(bridge)
    until(lambda: all(enqueuers.sent), PATIENCE)
    children = [start(lambda: enqueue(bridge, EACH)) for _ in range(CHILDREN)]
    failed = await_all(children)
    enqueuers.stop()
    enqueue(bridge, EACH)
    bridge.close()
    sys.stdout.write(json.dumps({"failed": failed, "sent": sum(enqueuers.sent) + EACH}))


def post_worker_init(worker: Any) -> None:
    """Be called by gunicorn in each of its workers."""
    enqueue(preloaded, EACH)
    worker.log.info("all enqueued")


def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Enqueue at each request."""
    job = preloaded.enqueue("a.task", owner="ada")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield job.id.encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
elif multiprocessing.parent_process() is None and "GUNICORN_PRELOAD" in os.environ:
    preloaded = new_bridge("taskbridge")
    enqueue(preloaded, EACH)
