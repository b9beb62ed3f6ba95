"""The emitters of a process: one for each broker and channel, and new ones after a fork."""

from __future__ import annotations

import gc
import os

import pytest

from bridge.reporting.run import Run
from bridge.sending import process_emitters
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings


class Manager:
    """A write-only manager that keeps the tasks of the events that it gets."""

    def __init__(self):
        self.tasks = []

    def emit_all(self, emissions):
        self.tasks += [one.data["task"] for one in emissions]

    def close(self):
        """Do nothing."""


@pytest.fixture
def manager(monkeypatch):
    manager = Manager()
    monkeypatch.setattr(
        "bridge.bus.write_only_manager.new_write_only_manager", lambda settings: manager
    )
    return manager


@pytest.fixture(autouse=True)
def _no_emitters(monkeypatch):
    monkeypatch.setattr(process_emitters, "_emitters", {})


def test_an_emitter_is_kept_for_each_broker_and_channel():
    one, other = Settings(channel="one"), Settings(channel="other")
    assert emitter_for(one) is emitter_for(Settings(channel="one"))
    assert emitter_for(one) is not emitter_for(other)


def test_a_forked_process_gets_an_emitter_of_its_own(monkeypatch):
    mine = emitter_for(Settings())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert emitter_for(Settings()) is not mine


def test_a_real_fork_sends_by_itself_what_its_parent_had_nothing_to_do_with(manager):
    parent = emitter_for(Settings())
    parent.put(Run(job="j", task="parent", name="n"), "started")
    assert parent.flush(5)
    reading, writing = os.pipe()
    gc.collect()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        try:
            child = emitter_for(Settings())
            child.put(Run(job="j", task="child", name="n"), "started")
            sent = child.flush(5)
            told = f"{child is not parent} {sent} {manager.tasks}"
            os.write(writing, told.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "True True ['parent', 'child']"
    parent.close(5)
