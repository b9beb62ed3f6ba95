"""A job of an idempotency key is published once, though processes ask at once, and die."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery

from bridge import Bridge, EnqueueError, Settings
from bridge.errors import BrokerUnavailable, ResultsUnavailable
from bridge.repeating import once
from bridge.repeating.once import Asked, Once
from bridge.repeating.reservation import Reservation
from bridge.repeating.stores import reservations_in
from bridge.results.bounded_calls import BoundedCalls


def store_at(url, retention=60.0):
    return reservations_in(Celery(backend=url, set_as_current=False).backend, retention)


@pytest.fixture
def store(tmp_path):
    return store_at(f"db+sqlite:///{tmp_path}/r.sqlite")


def new(store, patience=10.0):
    return Once(lambda: store, BoundedCalls(), patience)


def asked(job, digest="d"):
    return Asked("k", job, digest)


def left_by_a_dead_process(store, age):
    """Reserve the key as a process did that died before it published."""
    store.reserve("k", Reservation("left", "d", "dead", False, time.time() - age))


def test_many_at_once_publish_one_job_and_all_wait_until_it_is(store):
    published, go = [], threading.Event()

    def publish(job):
        go.wait(10)
        published.append(job)

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(new(store).job, asked(f"j{n}"), publish) for n in range(6)]
        go.set()
        found = {one.result(30) for one in calls}
    assert [*found] == published
    assert new(store).job(asked("later"), publish) == published[0]
    assert len(published) == 1


def test_what_a_dead_process_has_reserved_is_published_under_its_id(store):
    left_by_a_dead_process(store, age=once.DEAD_BY_CLOCK + 1)
    published = []
    assert new(store).job(asked("mine"), published.append) == "left"
    assert published == ["left"]


@pytest.mark.parametrize("claim", ["dead", ""], ids=["a dead process", "a failure"])
@pytest.mark.parametrize("age", [60.0, 3600.0])
def test_while_an_old_key_is_published_another_call_waits(url, age, claim):
    store, key = store_at(url, 86_400.0), uuid.uuid4().hex
    store.reserve(key, Reservation("left", "d", claim, False, time.time() - age))
    published, begun, go = [], threading.Event(), threading.Event()

    def publish(job):
        published.append(job)
        begun.set()
        assert go.wait(30)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(new(store_at(url, 86_400.0)).job, Asked(key, "one", "d"), publish)
        assert begun.wait(30)
        try:
            with pytest.raises(BrokerUnavailable, match="ask again with the same key"):
                new(store, patience=0.5).job(Asked(key, "two", "d"), pytest.fail)
        finally:
            go.set()
        assert first.result(30) == "left"
    assert new(store).job(Asked(key, "three", "d"), pytest.fail) == "left"
    assert published == ["left"]


def test_a_process_that_may_live_is_waited_for_and_not_without_a_bound(store, monkeypatch):
    left_by_a_dead_process(store, age=0)
    with pytest.raises(BrokerUnavailable, match="ask again with the same key"):
        new(store, patience=0.1).job(asked("mine"), pytest.fail)
    monkeypatch.setattr(once, "DEAD", 0.2)
    published = []
    assert new(store).job(asked("mine"), published.append) == "left"
    assert published == ["left"]


def test_a_job_that_is_known_to_have_begun_is_not_published_again(store):
    left_by_a_dead_process(store, age=30)
    assert new(store).job(asked("mine"), pytest.fail, lambda job: job == "left") == "left"
    assert store.find("k").published


def test_after_a_failure_the_next_call_publishes_at_once_under_the_same_id(store):
    with pytest.raises(BrokerUnavailable):
        new(store).job(asked("first"), _fail)
    published = []
    began = time.monotonic()
    assert new(store).job(asked("second"), published.append) == "first"
    assert published == ["first"]
    assert time.monotonic() - began < once.DEAD / 2


def _fail(job):
    raise BrokerUnavailable("away")


def test_another_call_with_the_same_key_is_refused(store):
    new(store).job(asked("j"), lambda job: None)
    with pytest.raises(EnqueueError, match="used for something else"):
        new(store).job(asked("j", "other"), pytest.fail)


def test_a_store_that_fails_or_hangs_publishes_nothing_and_says_so():
    class Broken:
        def reserve(self, key, new):
            raise OSError("away")

    class Hanging:
        def reserve(self, key, new):
            threading.Event().wait(30)

    for broken in (Broken(), Hanging()):
        began = time.monotonic()
        with pytest.raises(ResultsUnavailable):
            new(broken).job(asked("j"), pytest.fail)
        assert time.monotonic() - began < 5


@pytest.fixture
def bridge(tmp_path):
    settings = Settings(
        broker_url="memory://", result_url=f"db+sqlite:///{tmp_path}/r.sqlite", home=tmp_path
    )
    with Bridge(settings=settings) as bridge:
        yield bridge


def test_a_service_gets_one_job_for_one_key_of_one_owner(bridge):
    first = bridge.enqueue("a.task", [1], owner="ann", idempotency_key="k")
    same = bridge.enqueue("a.task", [1], owner="ann", idempotency_key="k", priority=3)
    assert same == first
    assert bridge.enqueue("a.task", [1], owner="bob", idempotency_key="k") != first
    assert bridge.enqueue("a.task", [1], owner="ann") != first
    for task, args in (("a.task", [2]), ("b.task", [1])):
        with pytest.raises(EnqueueError, match="used for something else"):
            bridge.enqueue(task, args, owner="ann", idempotency_key="k")


def test_a_canvas_with_a_key_is_the_same_whatever_ids_its_tasks_have(bridge):
    from celery import chain, signature

    def canvas():
        return chain(signature("a", (1,)), signature("b", task_id=str(time.time_ns())))

    ids = {bridge.enqueue(canvas(), owner="ann", idempotency_key="c").id for _ in range(2)}
    assert len(ids) == 1


def test_without_a_store_a_key_is_refused_in_a_sentence(tmp_path):
    settings = Settings(broker_url="memory://", result_url="rpc://", home=tmp_path)
    with Bridge(settings=settings) as bridge, pytest.raises(EnqueueError, match="needs a store"):
        bridge.enqueue("a.task", idempotency_key="k")
