"""A worker's parent does not wait for a result backend that hangs."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import pytest
from celery.concurrency.base import BasePool
from celery.concurrency.solo import TaskPool as Solo

from bridge.errors import ResultsUnavailable
from bridge.results import parent_results
from support.wait import until


class Backend:
    """Stores nothing until it may."""

    def __init__(self):
        self.free, self.calls = threading.Event(), []

    def _call(self, name, *args, **options):
        self.free.wait()
        self.calls.append((name, args, options, threading.get_ident()))
        return name

    def mark_as_revoked(self, *args, **options):
        return self._call("revoked", *args, **options)

    def mark_as_failure(self, *args, **options):
        return self._call("failure", *args, **options)

    def store_result(self, *args, **options):
        return self._call("result", *args, **options)

    def _get_task_meta_for(self, *args, **options):
        return self._call("meta", *args, **options)


class App:
    """An application that gives each thread a backend object of its own, as Celery's does."""

    def __init__(self, request):
        self.shared, self._own = Backend(), threading.local()
        self.conf = SimpleNamespace(result_backend=f"of {request.node.nodeid}")

    @property
    def backend(self):
        if not hasattr(self._own, "backend"):
            self._own.backend = Backend()
            self._own.backend.free, self._own.backend.calls = self.shared.free, self.shared.calls
        return self._own.backend


@pytest.fixture
def app(request, monkeypatch):
    monkeypatch.setattr(parent_results, "PATIENCE", 0.05)
    app = App(request)
    yield app
    app.shared.free.set()


def pool(kind=BasePool, *, green=False):
    return SimpleNamespace(is_green=green) if green else kind.__new__(kind)


def test_what_is_stored_of_many_tasks_waits_once_and_is_stored_later(app, caplog):
    parent_results.install(app, pool())
    for number in range(100):
        app.backend.mark_as_revoked(str(number), "why", store_result=True)
    assert [one.getMessage() for one in caplog.records] == [
        "taskbridge: how tasks ended is stored late, or not at all: "
        "the result backend does not answer: try again, or check TASKBRIDGE_RESULT_URL"
    ]
    app.shared.free.set()
    until(lambda: len(app.shared.calls) == 100)
    names, args, options, threads = zip(*app.shared.calls, strict=True)
    assert set(names) == {"revoked"}
    assert args == tuple((str(number), "why") for number in range(100))
    assert options[0] == {"store_result": True}
    assert threading.get_ident() not in threads


def test_what_is_read_is_not_there_while_the_backend_hangs(app):
    parent_results.install(app, pool())
    with pytest.raises(ResultsUnavailable):
        app.backend._get_task_meta_for("t")
    app.shared.free.set()
    until(lambda: app.shared.calls)
    until(lambda: _meta(app) == "meta")


def _meta(app):
    try:
        return app.backend._get_task_meta_for("u")
    except ResultsUnavailable:
        return None


def test_an_error_of_the_backend_is_raised_as_before(app, monkeypatch):
    app.shared.free.set()
    monkeypatch.setattr(Backend, "mark_as_failure", lambda *_, **__: 1 / 0)
    parent_results.install(app, pool())
    with pytest.raises(ZeroDivisionError):
        app.backend.mark_as_failure("t", ValueError())


def test_a_forked_process_and_other_threads_store_their_results_themselves(app):
    app.shared.free.set()
    parent_results.install(app, pool())
    backend = app.backend
    if not (child := os.fork()):
        backend.mark_as_revoked("t")
        os._exit(app.shared.calls[0][-1] != threading.get_ident())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread = threading.Thread(target=backend.mark_as_revoked, args=["t"])
    thread.start()
    ident = thread.ident
    thread.join()
    assert [call[-1] for call in app.shared.calls] == [ident]


@pytest.mark.parametrize(
    ("kind", "aside"),
    [(pool(Solo), ["revoked"]), (pool(green=True), ["result"])],
    ids=["solo", "gevent"],
)
def test_what_a_task_stores_on_the_same_thread_is_stored_there(app, kind, aside):
    app.shared.free.set()
    parent_results.install(app, kind)
    backend = app.backend
    for call in (backend.mark_as_revoked, backend.mark_as_failure, backend.store_result):
        call("t")
    app.backend._get_task_meta_for("t")
    moved = [name for name, *_, thread in app.shared.calls if thread != threading.get_ident()]
    assert moved == aside


def test_a_backend_that_fails_keeps_nobody_from_what_comes_after(request, caplog):
    app = App(request)
    parent_results.store_now(app, "no_such_method", "t")
    assert "is not stored" in caplog.text
