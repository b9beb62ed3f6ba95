"""Progress that a task stores with update_state is a bar of its job."""

from __future__ import annotations

import pytest
from celery import Celery, Task
from celery_progress.backend import ProgressRecorder

from bridge.capture import state_updates
from bridge.errors import JobCancelled
from bridge.reporting.progress import progress
from support.reporting import bars_of, inside_job

CAPTURED = frozenset({"tqdm"})


@pytest.fixture
def task(monkeypatch):
    """A task of an application that stores results in memory; its hook goes with the test."""
    monkeypatch.setattr(Task, "update_state", Task.update_state)
    state_updates.install.cache_clear()
    state_updates.install()
    app = Celery("unit", backend="cache+memory://", set_as_current=False)

    @app.task(bind=True, shared=False)
    def work(self):
        return None

    work.push_request(id="task of j")
    work.backend.client.cache.clear()  # of the process
    yield work
    work.pop_request()
    state_updates.install.cache_clear()


def shown(run):
    return [(bar["n"], bar["total"], bar["desc"], bar["closed"]) for bar in bars_of(run)]


def test_its_bar_has_the_last_values_and_other_keys_are_meta(task):
    with inside_job(capture=CAPTURED) as (run, _):
        task.update_state(state="PROGRESS", meta={"current": 1, "total": 4, "status": "a"})
        task.update_state(state="PROGRESS", meta={"current": 2, "total": 4, "file": "x", "self": 1})
        assert shown(run) == [(2, 4, "", False)]
        assert run.meta == {"file": "x", "self": 1}
    assert task.AsyncResult("task of j").info == {"current": 2, "total": 4, "file": "x", "self": 1}


def test_celery_progresss_recorder_is_a_bar_with_its_text(task):
    with inside_job(capture=CAPTURED) as (run, _):
        ProgressRecorder(task).set_progress(3, 8, description="rows")
        assert shown(run) == [(3, 8, "rows", False)]
        assert run.meta == {}


def test_it_has_a_line_of_its_own_beside_other_bars(task):
    with inside_job(capture=CAPTURED) as (run, _):
        inner = progress(total=9, desc="inner")
        task.update_state(state="PROGRESS", meta={"current": 1, "total": 4})
        task.update_state(state="PROGRESS", meta={"current": 2, "total": 4})
        assert shown(run) == [(0, 9, "inner", False), (2, 4, "", False)]
        inner.close()


def test_a_count_that_begins_again_has_a_rate_of_its_own(task):
    now = [100.0]
    with inside_job(capture=CAPTURED, clock=lambda: now[0]) as (run, _):
        task.update_state(state="READ", meta={"current": 0, "total": 100})
        now[0] += 10
        task.update_state(state="READ", meta={"current": 100, "total": 100})
        bars_of(run)
        task.update_state(state="WRITE", meta={"current": 0, "total": 10})
        now[0] += 1
        task.update_state(state="WRITE", meta={"current": 2, "total": 10})
        (bar,) = bars_of(run)
        assert (bar["rate"], bar["elapsed"], bar["eta"]) == (2, 1, 4)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED", "RETRY"])
def test_a_state_of_celery_is_stored_as_before_and_is_no_bar(task, state):
    with inside_job(capture=CAPTURED) as (run, _):
        run.cancelled = True
        task.update_state(state=state, meta={"current": 1, "exc_type": "E", "exc_message": "m"})
        assert shown(run) == []


def test_what_is_not_captured_is_only_stored(task):
    with inside_job(capture=frozenset({"logging"})) as (run, _):
        task.update_state(state="PROGRESS", meta={"current": 1, "total": 4, "file": "x"})
        assert (shown(run), run.meta) == ([], {})
    task.update_state(state="PROGRESS", meta={"current": 2})
    task.update_state("another task", "PROGRESS", {"current": 3})
    assert task.AsyncResult("task of j").info == {"current": 2}
    assert task.AsyncResult("another task").info == {"current": 3}


def test_a_task_of_a_cancelled_job_ends_at_its_next_update(task):
    with inside_job(capture=CAPTURED) as (run, _):
        run.cancelled = True
        with pytest.raises(JobCancelled):
            task.update_state(state="PROGRESS", meta={"current": 1})
