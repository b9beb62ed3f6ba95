"""Stores of idempotency keys: the first reservation of a key stands, for its time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery

from bridge.repeating.reservation import Reservation, key_of
from bridge.repeating.stores import reservations_in
from bridge.repeating.table import _swept


def store_at(url, retention=60.0):
    return reservations_in(Celery(backend=url, set_as_current=False).backend, retention)


def new(job, **fields):
    told = {"digest": "d", "claim": job, "published": False, "at": time.time(), **fields}
    return Reservation(job=job, **told)


def test_of_many_at_once_one_reserves_a_key_and_all_get_what_it_has_stored(url, request):
    key = key_of("test", request.node.name)
    stores = [store_at(url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(one.reserve, key, new(f"j{n}")) for n, one in enumerate(stores)]
        found = {one.result(30) for one in asked}
    [first] = found
    assert stores[0].find(key) == first
    assert store_at(url).find(key_of("test", "another")) is None


def test_a_claim_changes_hands_once_and_not_after_the_mark(url, request):
    key, store = key_of("test", request.node.name), store_at(url)
    store.reserve(key, new("j", claim="a"))
    at = time.time() + 5
    assert [store.claim(key, "a", "b", at), store.claim(key, "a", "c", at + 1)] == [True, False]
    assert store.find(key).at == at
    store.mark(key, "another")
    assert not store.find(key).published
    store.mark(key, "j")
    assert store.find(key).published
    assert not store.claim(key, "b", "c", at)


def test_a_key_is_forgotten_after_its_time(url, request):
    key, store = key_of("test", request.node.name), store_at(url, retention=1.0)
    assert store.reserve(key, new("old")).job == "old"
    end = time.monotonic() + 10
    while (found := store.reserve(key, new("new"))).job == "old":
        assert time.monotonic() < end
    assert found.job == "new"


def test_old_rows_are_removed(tmp_path):
    url = f"db+sqlite:///{tmp_path}/r.sqlite"
    store_at(url).reserve("k", new("j", at=time.time() - 100))
    _swept.clear()
    with store_at(url)._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM taskbridge_reservations").all()
    assert rows == []


@pytest.mark.parametrize("url", ["rpc://", "cache+memory://", "disabled://", "file:///tmp"])
def test_a_backend_that_cannot_set_what_is_not_set_is_none(url):
    assert store_at(url) is None
