"""What ``install`` leaves as it was: results, exceptions, retries, classes and pickles of tasks."""

from __future__ import annotations

import pickle

import pytest
from celery import Celery, Task, chord, group, shared_task, signals
from celery.exceptions import Retry

import bridge
from bridge import job, progress
from bridge.instrumentation import installed
from bridge.settings import Settings


class Base(Task):
    """A base of the application's own."""

    calls = 0

    def __call__(self, *args, **kwargs):
        type(self).calls += 1
        return super().__call__(*args, **kwargs)


@shared_task(name="install.total")
def total(numbers):
    job.log("adding up")
    return sum(progress(numbers, desc="numbers"))


@shared_task(bind=True, base=Base, autoretry_for=(OSError,), max_retries=2, name="install.flaky")
def flaky(self, fails):
    if self.request.retries < fails:
        raise OSError("not yet")
    return self.request.retries


@shared_task(name="install.fail")
def fail():
    raise ValueError("bad")


class Report(Task):
    name = "install.report"

    def run(self, title):
        return title.upper()


@pytest.fixture(scope="module")
def apps():
    """Two applications of one process, each installed, that run their tasks eagerly."""
    before = installed.settings_or_none()
    made = [Celery(name, set_as_current=False) for name in ("one", "two")]
    for app in made:
        app.conf.task_always_eager = True
        bridge.install(app, Settings())
        bridge.install(app, Settings())  # once more, which does nothing
        app.register_task(Report())
        app.finalize()
    yield made
    installed.replace_settings(before)


@pytest.fixture(params=[0, 1])
def app(apps, request):
    return apps[request.param]


def test_results_and_canvases_are_what_they_were(app):
    task = app.tasks["install.total"]
    assert task.delay([1, 2, 3]).get() == 6
    assert app.tasks["install.report"].delay("a title").get() == "A TITLE"
    assert group(task.s([1, 2]), task.s([3])).apply().get() == [3, 3]
    assert chord([task.s([1, 2]), task.s([3])], task.s()).apply().get() == 6
    assert task([1, 2]) == 3, "called as a function"


def test_exceptions_are_those_of_the_task(app):
    result = app.tasks["install.fail"].delay()
    assert result.state == "FAILURE"
    with pytest.raises(ValueError, match="bad"):
        result.get()


def test_a_task_is_tried_again_as_often_as_it_says(app):
    task = app.tasks["install.flaky"]
    before = Base.calls
    assert task.delay(2).get() == 2
    assert type(task).calls - before == 3
    with pytest.raises((OSError, Retry)):
        task.delay(5).get()


def test_signatures_and_applications_are_pickled_as_before(app):
    signature = app.tasks["install.total"].s([1, 2])
    assert pickle.loads(pickle.dumps(signature)) == signature
    assert pickle.loads(pickle.dumps(app)).main == app.main


def test_classes_and_settings_of_the_application_are_not_touched(app):
    assert isinstance(app.tasks["install.flaky"], Base)
    assert app.Task.__call__ is Task.__call__
    assert app.conf.changes.keys() <= {"task_always_eager", "deprecated_settings"}


def test_handlers_are_there_once_however_often_it_was_installed(apps):
    for signal in (signals.task_prerun, signals.task_postrun, signals.before_task_publish):
        ours = [name for name in map(_name_of, signal.receivers) if name.startswith("bridge.")]
        assert ours
        assert len(ours) == len(set(ours))


def _name_of(receiver):
    """Return the module and name of what a signal calls."""
    return f"{receiver[1].__module__}.{receiver[1].__qualname__}"
