"""Stores of checkpoints: each keeps the newest record, and refuses those of older attempts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery

from bridge.checkpoints.records import Record, Taken, fences_of
from bridge.checkpoints.stores import store_in
from bridge.checkpoints.table import _swept

RETENTION = 60.0
FIRST = fences_of({"attempt": 1, "redelivered": False})
AGAIN = fences_of({"attempt": 1, "redelivered": True})
RETRY = fences_of({"attempt": 2, "redelivered": False})


def backend_at(url):
    return Celery(backend=url, set_as_current=False).backend


@pytest.fixture(params=["redis", "sqlite", "files"])
def url(request, tmp_path):
    """URL of a result backend of each kind."""
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url
    return {"sqlite": f"db+sqlite:///{tmp_path}/r.sqlite", "files": f"file://{tmp_path}"}[
        request.param
    ]


@pytest.fixture
def store(url):
    return store_in(backend_at(url), RETENTION)


@pytest.fixture
def key(request):
    return request.node.name


def test_a_later_attempt_gets_the_newest_record_of_the_one_before(store, key):
    for seq in (1, 2):
        assert store.save(key, Record(FIRST.least, seq, f"body {seq}"))
    assert store.take_over(key, RETRY) == Taken(RETRY.least, "body 2")


def test_a_record_that_comes_late_does_not_replace_a_newer_one_of_its_attempt(store, key):
    assert store.save(key, Record(FIRST.least, 2, "newer"))
    assert store.save(key, Record(FIRST.least, 1, "older"))
    assert store.take_over(key, AGAIN).body == "newer"


def test_an_attempt_that_is_taken_over_changes_nothing(store, key):
    assert store.save(key, Record(FIRST.least, 9, "first"))
    second = store.take_over(key, AGAIN).fence
    assert not store.save(key, Record(FIRST.least, 10, "thawed"))
    store.clear(key, FIRST.least, first=True)
    third = store.take_over(key, AGAIN)
    assert third.body == "first"
    assert third.fence > second
    assert not store.save(key, Record(second, 1, "thawed, too"))
    assert store.save(key, Record(third.fence, 1, "third"))
    assert store.take_over(key, RETRY).body == "third"


def test_an_attempt_that_is_older_by_celerys_data_cannot_take_over(store, key):
    assert store.take_over(key, RETRY) == Taken(RETRY.least, None)
    assert store.take_over(key, AGAIN) is None
    assert not store.save(key, Record(FIRST.least, 1, "first"))
    assert store.take_over(key, RETRY) == Taken(RETRY.least + 1, None)


def test_another_job_sees_the_newest_record_and_changes_nothing(store, key):
    assert store.peek(key) is None
    assert store.save(key, Record(FIRST.least, 1, "body"))
    assert [store.peek(key), store.peek(key)] == ["body", "body"]
    assert store.save(key, Record(FIRST.least, 2, "newer"))


def test_nothing_is_left_to_go_on_from_once_it_is_cleared(store, key):
    assert store.save(key, Record(FIRST.least, 1, "first"))
    store.clear(key, FIRST.least, first=True)
    second = store.take_over(key, AGAIN)
    assert second.body is None
    assert store.save(key, Record(second.fence, 1, "second"))
    store.clear(key, second.fence, first=False)
    # The fence stays: the first attempt may still be alive.
    assert not store.save(key, Record(FIRST.least, 2, "thawed"))
    assert store.take_over(key, RETRY).body is None


# A key-value backend has no exact fence.
@pytest.mark.parametrize("url", ["redis", "sqlite"], indirect=True)
def test_of_many_that_take_over_at_once_each_gets_a_fence_of_its_own(url, key):
    both = threading.Barrier(4)

    def take_over(_):
        own = store_in(backend_at(url), RETENTION)
        both.wait(20)
        return own.take_over(key, AGAIN).fence

    with ThreadPoolExecutor(4) as pool:
        fences = sorted(pool.map(take_over, range(4)))
    assert fences == [AGAIN.least + number for number in range(4)]


def test_a_record_expires(redis_server, tmp_path, key, monkeypatch):
    client = backend_at(redis_server.url).client
    store = store_in(backend_at(redis_server.url), RETENTION)
    store.save(key, Record(FIRST.least, 1, "first"))
    [name] = client.keys(f"*taskbridge-checkpoint-{key}")
    assert 0 < client.ttl(name) <= RETENTION
    database = backend_at(f"db+sqlite:///{tmp_path}/r.sqlite")
    store_in(database, RETENTION).save(key, Record(FIRST.least, 1, "first"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + RETENTION + 1)
    _swept.clear()  # as an hour later, or in another process
    assert store_in(database, RETENTION).take_over(key, AGAIN).body is None


def test_a_body_that_is_too_large_is_not_read(store, key):
    assert store.save(key, Record(FIRST.least, 1, "x" * 300_000))
    assert store.take_over(key, AGAIN).body is None


@pytest.mark.parametrize("url", ["rpc://", "disabled://", "cache+memory://"])
def test_a_backend_that_keeps_nothing_for_others_has_no_store(url):
    app = Celery(broker="memory://", backend=url, set_as_current=False)
    assert store_in(app.backend, RETENTION) is None
