"""A fork while other threads hold what taskbridge, Celery and kombu share."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from importlib.util import spec_from_loader

import pytest
from celery import Celery, signals
from kombu import pools

from bridge import Bridge
from bridge.sending.process_emitters import _emitters

#: Where other tests of the process have imported eventlet, it warns of each fork; the children
#: here run nothing of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*_warn_on_fork:pytest.PytestUnraisableExceptionWarning"),
]

#: Seconds that a child may take.
PATIENCE = 10.0


def in_child(work):
    """Call a function in a forked child; whether it returned in time."""
    pid = os.fork()
    if not pid:
        signal.alarm(int(PATIENCE))
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.fixture(params=[False, True], ids=["taskbridge's", "own"])
def bridge(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKBRIDGE_HOME", str(tmp_path))
    app = Celery(broker="memory://", set_as_current=False) if request.param else None
    with Bridge("memory://", app=app) as bridge:
        bridge.enqueue("a.task", owner="ada")
        yield bridge


LOCKS = {
    "signal": lambda bridge: signals.before_task_publish.lock,
    "application's signal": lambda bridge: bridge.app.on_after_fork.lock,
    "cached property": lambda bridge: Celery.__dict__["amqp"].lock,
    "pool": lambda bridge: bridge.sender.amqp.producer_pool._resource.mutex,
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_child_waits_for_no_lock_that_a_thread_of_its_parent_held(name, bridge):
    lock = LOCKS[name](bridge)
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: bridge.enqueue("a.task", owner="ada"))
    finally:
        done.set()
        thread.join()
    bridge.enqueue("a.task", owner="ada")


def test_a_child_imports_what_a_thread_of_its_parent_was_importing(bridge, monkeypatch):
    parent, begun, done = os.getpid(), threading.Event(), threading.Event()

    class Slow:
        """Finds a module that takes long to run in the parent."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            return spec_from_loader(name, Slow()) if name == "slow_to_import" else None

        @staticmethod
        def create_module(spec):
            return None

        @staticmethod
        def exec_module(module):
            if os.getpid() == parent:
                begun.set()
                done.wait()
            module.value = 1

    def load():
        return importlib.import_module("slow_to_import").value

    def check():
        assert load() == 1

    monkeypatch.setattr(sys, "meta_path", [Slow, *sys.meta_path])
    thread = threading.Thread(target=load)
    thread.start()
    begun.wait()
    try:
        assert in_child(check)
    finally:
        done.set()
        thread.join()
        del sys.modules["slow_to_import"]


def test_a_child_has_none_of_its_parents_connections_and_the_parent_keeps_them(bridge):
    before = bridge.sender.amqp.producer_pool
    assert pools.connections

    def check():
        assert not pools.connections
        assert not pools.producers
        assert not _emitters
        assert bridge.sender.amqp.producer_pool is not before

    assert in_child(check)
    assert bridge.sender.amqp.producer_pool is before
    assert _emitters
