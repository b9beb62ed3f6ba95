"""How a running task finds out that its job was cancelled, wherever its process comes from."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from bridge.cancelling import cancelled_jobs
from bridge.cancelling.cancelled_jobs import SLOTS


@pytest.fixture
def worker(monkeypatch):
    """A worker's parent before it has processes."""
    monkeypatch.setattr(cancelled_jobs, "_shared", None)
    monkeypatch.delenv(cancelled_jobs.VARIABLE, raising=False)
    worker = SimpleNamespace(pool_start_method="fork")
    cancelled_jobs.share(worker)
    return worker


def in_a_child(call):
    """Return what a call returns in a process that is forked now."""
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(write, repr(call()).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return answer.read()


def test_a_process_that_is_forked_later_sees_what_was_cancelled_before(worker):
    cancelled_jobs.remember("one")
    assert in_a_child(cancelled_jobs.watch("one")) == "True"
    assert in_a_child(cancelled_jobs.watch("another")) == "False"


def test_a_task_that_began_before_sees_that_its_job_is_cancelled_wherever_its_process_moves(
    worker, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (looked, say), (ready, go) = os.pipe(), os.pipe()
    is_cancelled = cancelled_jobs.watch("one")

    def child():
        before = is_cancelled()
        os.chdir("/")
        os.write(say, b"!")
        os.read(ready, 1)
        return before, is_cancelled()

    def cancel():
        os.read(looked, 1)
        cancelled_jobs.remember("one")
        os.write(go, b"!")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    assert in_a_child(child) == "(False, True)"
    canceller.join()


def test_a_job_is_looked_for_again_only_when_another_was_cancelled(worker):
    is_cancelled = cancelled_jobs.watch("one")
    cancelled_jobs.remember("other")
    assert not is_cancelled()
    cancelled_jobs.remember("one")
    assert is_cancelled()
    assert not is_cancelled()  # the run remembers it


def test_the_oldest_cancelled_job_makes_room(worker):
    cancelled_jobs.remember("first")
    for number in range(SLOTS - 1):
        cancelled_jobs._shared.add(str(number))
    assert cancelled_jobs.watch("first")()
    cancelled_jobs._shared.add("one more")
    assert not cancelled_jobs.watch("first")()
    assert cancelled_jobs.watch("one more")()


def test_a_process_that_is_started_afresh_finds_the_memory_of_its_parent(worker, monkeypatch):
    worker.pool_start_method = "spawn"
    cancelled_jobs.share(worker)
    cancelled_jobs.remember("one")
    code = (
        "from bridge.cancelling import cancelled_jobs as c; c.adopt(); "
        "print(c.watch('one')(), c.watch('another')())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True False\n"


def test_without_any_folder_a_worker_starts_all_the_same(worker, monkeypatch, caplog):
    worker.pool_start_method = "spawn"
    monkeypatch.setattr("tempfile.NamedTemporaryFile", Mock(side_effect=OSError("no folder")))
    cancelled_jobs.share(worker)
    cancelled_jobs.remember("one")
    assert cancelled_jobs.watch("one")()
    assert "only terminated, after a grace: no folder" in caplog.text


def test_outside_a_worker_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(cancelled_jobs, "_shared", None)
    assert cancelled_jobs.watch("one") is None
