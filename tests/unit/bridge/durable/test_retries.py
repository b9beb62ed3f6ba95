"""A task stores that it is tried again, once, and before its retry is published."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.app.trace import build_tracer

from bridge.durable.retries import stored_first

PUBLISHED = "published"
NOT_YET = ValueError("not yet")


@pytest.fixture
def app():
    app = Celery("retries", broker="memory://", backend="cache+memory://")
    app.conf.task_annotations = {"*": {"@retry": stored_first}}
    return app


@pytest.fixture
def done(app, monkeypatch):
    """States that are stored and retries that are published, in order."""
    done = []

    def store_result(task_id, result, state, **options):
        done.append((state, repr(result)))

    monkeypatch.setattr(app.backend, "store_result", store_result)
    monkeypatch.setattr(app, "send_task", lambda *_, **__: done.append(PUBLISHED))
    return done


def run(app, error=NOT_YET, request=(), **options):
    """Run a task that is tried again, as a worker's process does."""

    def again(self):
        raise self.retry(exc=error, countdown=0)

    task = app.task(bind=True, name=f"again-{len(app.tasks)}", **options)(again)
    request = {"id": "t", "retries": 0, "args": [], "kwargs": {}, **dict(request)}
    build_tracer(task.name, task, app=app)("t", [], {}, request)


RETRY = ("RETRY", "ValueError('not yet')")


def test_a_retry_is_stored_before_it_is_published_and_once(app, done):
    run(app)
    assert done == [RETRY, PUBLISHED]
    run(app)  # another request of the same process
    assert done[2:] == [RETRY, PUBLISHED]


def test_a_retry_for_no_error_or_for_a_sentence_is_stored(app, done):
    run(app, error=None)
    run(app, error="a sentence")
    assert done == [("RETRY", "None"), PUBLISHED] * 2


def test_a_task_that_has_been_tried_often_enough_only_fails(app, done):
    run(app, request={"retries": 1}, max_retries=1)
    assert done == [("FAILURE", "ValueError('not yet')")]


def test_a_task_without_a_limit_is_tried_again(app, done):
    run(app, request={"retries": 9}, max_retries=None)
    assert done == [RETRY, PUBLISHED]


@pytest.mark.parametrize(
    ("request_", "options", "stored"),
    [
        ({}, {"ignore_result": True}, False),
        ({"ignore_result": True}, {}, False),
        ({"ignore_result": False}, {"ignore_result": True}, True),
        ({}, {"ignore_result": True, "store_errors_even_if_ignored": True}, True),
    ],
)
def test_a_task_whose_result_is_ignored_stores_no_retry(app, done, request_, options, stored):
    run(app, request=request_, **options)
    assert done == [RETRY] * stored + [PUBLISHED]


def test_a_task_that_is_called_or_applied_stores_nothing(app, done):
    @app.task(bind=True)
    def once(self):
        if self.request.retries == 0:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        return "done"

    assert once.apply().get() == "done"
    with pytest.raises(ValueError, match="not yet"):
        once()
    assert done == []


def test_a_retry_is_published_although_it_cannot_be_stored(app, done, monkeypatch):
    def fail(*_, **__):
        raise OSError("away")

    monkeypatch.setattr(app.backend, "store_result", fail)
    run(app)
    assert done == [PUBLISHED]
