"""How a task ends that raises ``JobCancelled``."""

import logging
from unittest.mock import Mock

import pytest
from celery import Celery, Task
from celery.app.trace import build_tracer
from celery.exceptions import Retry, TaskRevokedError

from bridge.cancelling import revocation
from bridge.errors import JobCancelled
from bridge.instrumentation import outcomes
from bridge.reporting import current_job
from bridge.reporting.run import Run

#: Tasks of which monitors are told.
TOLD: list[Task] = []


class Wrapping(Task):
    """A class of an application's own, which wraps the call of each task."""

    def __call__(self, *args, **kwargs):
        return self.run(*args, **kwargs)


@pytest.fixture
def app():
    app = Celery("revocation", set_as_current=False, broker="memory://", backend="cache+memory://")
    # All applications of a process share it, and a task that has succeeded is never revoked.
    app.backend.client.cache.clear()

    def cancelled(*_):
        raise JobCancelled

    for name, options in {
        "plain": {},
        "wrapping": {"base": Wrapping},
        "retried": {"autoretry_for": (Exception,)},
        "ignoring": {"ignore_result": True},
        "bound": {"bind": True},
    }.items():
        app.task(cancelled, name=name, shared=False, **options)

    def calls_another():
        app.tasks["plain"]()

    app.task(calls_another, name="outer", shared=False)
    revocation.install(app, TOLD.append)
    revocation.install(app, TOLD.append)  # once more, which does nothing
    return app


def trace(app, name, task_id="t", **request):
    """Run a task as a worker does; return what its parent process gets."""
    task = app.tasks[name]
    tracer = build_tracer(name, task, app=app)
    found = tracer(task_id, (), {}, {"id": task_id, "delivery_info": {}, **request})
    return found.retval, app.AsyncResult(task_id)


@pytest.mark.parametrize("name", ["plain", "wrapping", "retried", "bound", "outer"])
def test_it_is_revoked_to_celery_and_ignored_by_the_worker(app, name):
    TOLD.clear()
    told, result = trace(app, name)
    assert [task.name for task in TOLD] == [name]
    assert isinstance(told.exception.exc, revocation.Revoked)
    assert result.state == "REVOKED"
    assert result.traceback is None
    with pytest.raises(TaskRevokedError, match="the job was cancelled"):
        result.get()


def test_a_task_without_results_stores_none(app):
    assert trace(app, "ignoring", "without")[1].state == "PENDING"


def test_the_rest_of_its_chain_is_revoked(app):
    trace(app, "plain", chain=[app.signature("bound", task_id="next")])
    assert app.AsyncResult("next").state == "REVOKED"


def test_its_end_is_cancelled():
    run = Run(job="j", task="t", name="n")
    assert outcomes.untold(run, Task(), "IGNORED", revocation.Revoked()) == ("cancelled", {})


def test_a_backend_that_is_away_changes_nothing_for_the_worker(app, caplog, monkeypatch):
    monkeypatch.setattr(app.backend, "store_result", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.WARNING):
        told, _ = trace(app, "plain")
    assert isinstance(told.exception.exc, revocation.Revoked)
    assert "REVOKED could not be stored for task t: division by zero" in caplog.text


def test_a_direct_call_and_an_eager_one_raise_to_their_caller(app):
    with pytest.raises(JobCancelled):
        app.tasks["plain"]()
    with pytest.raises(JobCancelled):
        app.tasks["plain"].apply()


def test_reports_raise_in_the_body_and_in_no_handler_around_it(app):
    run = Run(job="j", task="t", name="n")
    run.cancelled, run.interruptible = True, False
    seen = []

    def body():
        seen.append(run.interruptible)
        run.check()

    app.task(body, name="checked", shared=False)
    revocation.install(app, TOLD.append)
    # Other tests of this process may have installed what reports a task's end.
    current_job.enter(run, Mock())
    try:
        assert trace(app, "checked")[1].state == "REVOKED"
    finally:
        current_job.leave("t")
    assert seen == [True]
    run.check()  # outside


class Transaction:
    """A library's context, which cannot be cleaned up amid a call."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            raise OSError("busy")
        except OSError as error:
            raise ConnectionError("cannot roll back") from error


@pytest.mark.parametrize("interruption", [JobCancelled(), SystemExit(-241)], ids=repr)
def test_what_a_library_raises_because_a_task_was_interrupted_is_not_its_end(app, interruption):
    def interrupted():
        try:
            with Transaction():
                raise interruption
        except ConnectionError:
            raise ValueError("the database refuses") from None

    app.task(interrupted, name="interrupted", shared=False)
    revocation.install(app, TOLD.append)
    if isinstance(interruption, SystemExit):
        with pytest.raises(SystemExit) as caught:
            trace(app, "interrupted", "exits")
        assert caught.value is interruption
    else:
        told, result = trace(app, "interrupted", "cancelled")
        assert isinstance(told.exception.exc, revocation.Revoked)
        assert result.state == "REVOKED"


@pytest.mark.parametrize("code", [None, 0, 2, "wrong argument"])
def test_a_task_that_raises_an_error_for_an_exit_of_its_own_has_failed(app, code):
    def parses():
        try:
            raise SystemExit(code)
        except SystemExit:
            raise ValueError("wrong arguments")  # noqa: B904 - as applications do

    app.task(parses, name="parses", shared=False)
    revocation.install(app, TOLD.append)
    _, result = trace(app, "parses", f"parses-{code}")
    assert result.state == "FAILURE"


def test_a_retry_that_was_published_while_a_task_was_interrupted_is_its_end(app):
    def retries(self):
        try:
            raise SystemExit(-241)
        except SystemExit:
            raise Retry("again")  # noqa: B904 - as autoretry does

    app.task(retries, name="retries", bind=True, shared=False)
    revocation.install(app, TOLD.append)
    told, _ = trace(app, "retries", "retries")
    assert isinstance(told.exception.exc, Retry)
