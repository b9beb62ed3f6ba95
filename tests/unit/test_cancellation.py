"""How a worker and its tasks find out that a job was cancelled."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from bridge import cancellation
from bridge.cancelled_jobs import SLOTS
from support.clock import Clock

#: Seconds that a cancelled task may run on.
GRACE = 3.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cancellation, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr(cancellation, "_listening", (None, 0.0))
    return clock


def consumer():
    return SimpleNamespace(connection=object())


def test_what_comes_first_on_a_connection_may_have_been_cancelled_before_it(clock):
    assert cancellation.may_have_missed(consumer(), clock(), GRACE)


def test_what_was_published_just_before_the_worker_listened_may_have_been_cancelled_too(clock):
    worker = consumer()
    cancellation.may_have_missed(worker, clock(), GRACE)
    published = clock() - 0.1
    clock.tick(0.5)
    assert cancellation.may_have_missed(worker, published, GRACE)


def test_what_comes_at_once_to_a_worker_that_has_listened_for_long_needs_no_look(clock):
    worker = consumer()
    cancellation.may_have_missed(worker, clock(), GRACE)
    clock.tick(10)
    assert not cancellation.may_have_missed(worker, clock() - 0.1, GRACE)


def test_what_has_waited_may_have_been_cancelled_while_the_worker_was_busy(clock):
    worker = consumer()
    cancellation.may_have_missed(worker, clock(), GRACE)
    clock.tick(1000)
    assert cancellation.may_have_missed(worker, clock() - 400, GRACE)


def test_what_a_task_publishes_that_was_cancelled_before_the_worker_listened_is_looked_up(clock):
    worker = consumer()
    cancellation.may_have_missed(worker, clock(), GRACE)
    clock.tick(GRACE)
    assert cancellation.may_have_missed(worker, clock(), GRACE)


def test_a_new_connection_begins_anew(clock):
    cancellation.may_have_missed(consumer(), clock(), GRACE)
    clock.tick(10)
    assert cancellation.may_have_missed(consumer(), clock() - 0.1, GRACE)


def test_a_task_that_does_not_say_when_it_was_published_is_looked_up(clock):
    worker = consumer()
    cancellation.may_have_missed(worker, clock(), GRACE)
    clock.tick(10)
    assert cancellation.may_have_missed(worker, None, GRACE)


@pytest.fixture
def worker(monkeypatch):
    """A worker's parent before it has processes."""
    monkeypatch.setattr(cancellation, "_shared", None)
    monkeypatch.delenv(cancellation.VARIABLE, raising=False)
    worker = SimpleNamespace(pool_start_method="fork")
    cancellation._share(worker)
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
    cancellation.remember("one")
    assert in_a_child(cancellation.watch("one")) == "True"
    assert in_a_child(cancellation.watch("another")) == "False"


def test_a_task_that_began_before_sees_that_its_job_is_cancelled_wherever_its_process_moves(
    worker, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    ready, go = os.pipe()
    is_cancelled = cancellation.watch("one")

    def child():
        before = is_cancelled()
        os.chdir("/")
        os.read(ready, 1)
        return before, is_cancelled()

    def cancel():
        cancellation.remember("one")
        os.write(go, b"!")

    timer = threading.Timer(0.0, cancel)
    # The fork comes first: the thread would not be there in the child.
    monkeypatch.setattr(os, "waitpid", lambda *_, wait=os.waitpid: (timer.start(), wait(*_)))
    assert in_a_child(child) == "(False, True)"
    timer.join()


def test_a_job_is_looked_for_again_only_when_another_was_cancelled(worker):
    is_cancelled = cancellation.watch("one")
    cancellation.remember("other")
    assert not is_cancelled()
    cancellation.remember("one")
    assert is_cancelled()
    assert not is_cancelled()  # the run remembers it


def test_the_oldest_cancelled_job_makes_room(worker):
    cancellation.remember("first")
    for number in range(SLOTS - 1):
        cancellation._shared.add(str(number))
    assert cancellation.watch("first")()
    cancellation._shared.add("one more")
    assert not cancellation.watch("first")()
    assert cancellation.watch("one more")()


def test_a_process_that_is_started_afresh_finds_the_memory_of_its_parent(worker, monkeypatch):
    worker.pool_start_method = "spawn"
    cancellation._share(worker)
    cancellation.remember("one")
    code = (
        "from bridge import cancellation as c; c._adopt(); "
        "print(c.watch('one')(), c.watch('another')())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True False\n"


def test_without_any_folder_a_worker_starts_all_the_same(worker, monkeypatch, caplog):
    worker.pool_start_method = "spawn"
    monkeypatch.setattr("tempfile.NamedTemporaryFile", Mock(side_effect=OSError("no folder")))
    cancellation._share(worker)
    cancellation.remember("one")
    assert cancellation.watch("one")()
    assert "only terminated, after a grace: no folder" in caplog.text


def test_outside_a_worker_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(cancellation, "_shared", None)
    assert cancellation.watch("one") is None
