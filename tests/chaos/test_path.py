"""What workers say cannot reach the server for a while: no job is called lost for that.

``CHAOS_OUTAGE=90`` makes the outages as long as that.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from bridge import Bridge
from bridge.bus import confirms
from bridge.bus.write_only_manager import Emission, new_write_only_manager
from bridge.errors import BrokerUnavailable
from support.bus import Bus
from support.distance import Distance
from support.process import children_of
from support.wait import until

#: Seconds that an outage lasts.
OUTAGE = float(os.environ.get("CHAOS_OUTAGE", "5"))
#: Seconds until a server calls a silent task stalled, and lost. A server that is frozen for three
#: times the latter must be back before its clients give up, and miss pushes: python-engineio's do
#: when they have sent nothing, not even the answer to a ping, for 30 s.
STALLED, LOST = (1.5, 3.0) if OUTAGE < 60 else (3.0, 8.0)
#: Seconds that a call to a broker which does not answer takes at most, where each step has one.
SOON = 40.0

pytestmark = pytest.mark.timeout(120 + 4 * OUTAGE)


@pytest.fixture(scope="module")
def distance(node, tmp_path_factory):
    limits = {"TASKBRIDGE_STALLED_AFTER": str(STALLED), "TASKBRIDGE_LOST_AFTER": str(LOST)}
    distance = Distance(node, tmp_path_factory.mktemp("distance"), **limits)
    try:
        yield distance
    finally:
        distance.stop()


@pytest.fixture(scope="module")
def worker(distance):
    return distance.start_worker("--concurrency", "2")


def last(seconds):
    """Let an outage last for so many seconds: the length is what is tested."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 5, "the end of the outage")


@pytest.fixture
def alarm(node):
    """Raise the alarm of a resource, and end it."""
    limits = {
        "memory": (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.4"]),
        "disk": (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "10MB"]),
    }

    raised = set()

    def alarm(kind, *, over=False):
        node.control(*limits[kind][over])
        (raised.discard if over else raised.add)(kind)

    yield alarm
    for kind in list(raised):
        alarm(kind, over=True)


def test_a_broker_that_blocks_publishers_makes_no_job_lost(distance, worker, alarm):
    job = distance.watch()
    until(job.speaks, 20, "the job to speak")
    alarm("memory")
    job.until_disturbed(OUTAGE + 10)
    last(OUTAGE / 2)
    alarm("disk")
    alarm("memory", over=True)
    last(OUTAGE / 2)
    assert job.watcher.snapshot.state == "running"
    assert job.watcher.snapshot.disturbed
    alarm("disk", over=True)
    job.until_disturbed(30, over=True)
    job.check()


def test_what_is_on_its_way_to_a_broker_that_blocks_is_not_published_again(distance, alarm):
    settings = distance.stack.settings
    with closing(new_write_only_manager(settings)) as writer:
        publish = partial(writer.emit, "notice", None, "/jobs", "job:nobody")
        publish(id="before")
        alarm("memory")
        blocked = [Emission("notice", None, "/jobs", "job:nobody", id=id) for id in ("one", "two")]
        for _ in range(2):
            with pytest.raises(TimeoutError):
                writer.emit_all(blocked)
        alarm("memory", over=True)
        writer.emit_all(blocked)
        publish(id="after")
    bus, ids = Bus(settings, settings.events), ["before", "one", "two", "after"]

    def published():
        return [one["id"] for one in bus.messages() if one.get("id") in ids]

    # How much is in a stream RabbitMQ tells a little late.
    until(lambda: "after" in published(), 20, "all messages", interval=0.5)
    assert published() == ids


def test_workers_that_do_not_reach_the_broker_of_events_are_asked_another_way(distance, worker):
    job = distance.watch()
    until(job.speaks, 20, "the job to speak")
    distance.link.swallow()
    try:
        last(OUTAGE)
        job.until_disturbed(LOST + 10)
        assert job.watcher.snapshot.state == "running"
    finally:
        distance.link.heal()
    job.until_disturbed(30, over=True)
    job.check()


def test_a_worker_that_is_suspended_is_not_dead(distance, worker):
    job = distance.watch()
    until(job.speaks, 20, "the job to speak")
    everyone = [worker.pid, *children_of(worker.pid)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        last(OUTAGE)
        job.until_disturbed(LOST + 10)
        assert job.watcher.snapshot.state == "running"
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
    job.check()


def test_a_server_that_was_frozen_calls_nothing_lost(distance, worker):
    job = distance.watch()
    until(job.speaks, 20, "the job to speak")
    distance.server.freeze()
    last(3 * LOST)
    distance.server.thaw()
    job.check()


def test_a_service_is_not_held_by_a_broker_that_does_not_answer(node, distance, alarm, monkeypatch):
    monkeypatch.setattr(confirms, "PATIENCE", 1.0)
    bounds = {"read_timeout": 1.0, "write_timeout": 1.0}
    monkeypatch.setattr(confirms, "TRANSPORT_OPTIONS", {"confirm_publish": True, **bounds})
    with Bridge(settings=distance.stack.settings) as bridge:
        jobs = [bridge.enqueue("support.add", [1, 2], queue="nobody's").id for _ in range(2)]
        for job in jobs:
            next(iter(bridge.watch(job)))  # the server knows it
        node.freeze()
        try:
            assert_refused(bridge, jobs[0])
        finally:
            node.thaw()
        alarm("memory")
        assert_refused(bridge, jobs[1])
        alarm("memory", over=True)
        bridge.enqueue("support.add", [1, 2], queue="nobody's")


def test_a_service_is_not_held_by_a_broker_that_dies_before_it_confirms(node, distance, alarm):
    with Bridge(settings=distance.stack.settings) as bridge, ThreadPoolExecutor() as threads:
        job = bridge.enqueue("support.add", [1, 2], queue="nobody's").id
        next(iter(bridge.watch(job)))  # the server knows it
        alarm("memory")
        cancel = threads.submit(bridge.cancel, job)
        until(lambda: node.blocks(bridge.settings.broker), 8, "the cancel to wait")
        node.kill()
        try:
            with pytest.raises(BrokerUnavailable):
                cancel.result(SOON)
        finally:
            node.start()


def assert_refused(bridge, job):
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        bridge.enqueue("support.add", [1, 2], queue="nobody's")
    with pytest.raises(BrokerUnavailable):
        bridge.cancel(job)
    assert time.monotonic() - begun < SOON
