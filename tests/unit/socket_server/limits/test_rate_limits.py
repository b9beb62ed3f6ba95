"""Limits: how much one client, one owner, one address may ask."""

from __future__ import annotations

import pytest

from bridge.settings import Settings
from socket_server.limits.rate_limits import RateLimits
from socket_server.limits.token_bucket import Bucket, Buckets
from socket_server.messages.requests import Refused
from support.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limits(clock):
    settings = Settings(
        requests_per_second=2.0,
        owner_requests_per_second=3.0,
        max_connections_per_owner=2,
        max_watched=3,
        enqueues_per_minute=2.0,
        max_unfinished=5,
        answer_bytes_per_second=1_000,
        owner_answer_bytes_per_second=2_000,
    )
    return RateLimits(settings, clock)


def code_of(function, *arguments):
    """Return the code with which it is refused; None if it is not."""
    try:
        function(*arguments)
    except Refused as refused:
        return refused.code
    return None


def test_a_bucket_lets_a_burst_through_and_then_its_rate(clock):
    bucket = Bucket(rate=2.0, burst=3.0, clock=clock)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take() == pytest.approx(0.5)
    clock.tick(0.5)
    assert bucket.take() == 0.0


def test_a_bucket_holds_no_more_than_its_burst(clock):
    bucket = Bucket(rate=2.0, burst=3.0, clock=clock)
    clock.tick(1000)
    assert [bucket.take() for _ in range(4)][-1] > 0


def test_a_debt_is_paid_back_in_time(clock):
    bucket = Bucket(rate=10.0, burst=5.0, clock=clock)
    assert bucket.owe(5) == 0.0
    assert bucket.owe(20) == pytest.approx(2.0)
    clock.tick(2.0)
    assert bucket.owe(1) == pytest.approx(0.1)


def test_buckets_that_are_full_are_forgotten(clock):
    buckets = Buckets(rate=1.0, burst=2.0, clock=clock)
    for key in range(100):
        buckets.take(key)
    buckets.prune()
    assert len(buckets) == 100
    clock.tick(1.0)
    buckets.prune()
    assert len(buckets) == 0


def test_a_connection_may_ask_so_often_and_is_told_when_again(limits, clock):
    assert [code_of(limits.request, "a", None) for _ in range(4)] == [None] * 4
    with pytest.raises(Refused, match=r"try again in 0\.[56]") as refused:
        limits.request("a", None)
    assert refused.value.encode()["retry_after"] == pytest.approx(0.55, abs=0.1)
    assert code_of(limits.request, "b", None) is None
    clock.tick(0.6)
    assert code_of(limits.request, "a", None) is None


def test_an_owners_connections_share_what_an_owner_may_ask(limits):
    codes = [code_of(limits.request, f"sid-{number}", "me") for number in range(7)]
    assert codes == [None] * 6 + ["too_many_requests"]
    assert code_of(limits.request, "other", "somebody else") is None


def test_an_owner_may_have_so_many_connections_at_once(limits):
    assert [code_of(limits.connect, "me") for _ in range(3)] == [None, None, "too_many_connections"]
    limits.disconnect("me")
    assert code_of(limits.connect, "me") is None


def test_a_token_of_single_jobs_counts_for_no_owner(limits):
    assert [code_of(limits.connect, None) for _ in range(100)] == [None] * 100


def test_jobs_are_enqueued_so_many_a_minute_and_so_many_at_once(limits, clock):
    assert [code_of(limits.enqueue, "me", 0) for _ in range(3)] == [None, None, "too_many_requests"]
    clock.tick(31)
    assert code_of(limits.enqueue, "me", 4) is None
    assert code_of(limits.enqueue, "you", 5) == "too_many_jobs"


def test_a_connection_watches_so_many_jobs(limits):
    assert code_of(limits.watch, 2) is None
    assert code_of(limits.watch, 3) == "too_many_jobs"


def test_who_has_gone_leaves_nothing_behind(limits, clock):
    limits.connect("me")
    limits.request("a", "me")
    limits.enqueue("me", 0)
    limits.disconnect("me")
    clock.tick(3600)
    limits.prune()
    assert not limits._connected
    assert not any(len(one) for one in (limits._of_connection, limits._of_owner, limits._enqueued))


def test_bytes_of_answers_are_limited_after_the_one_that_took_too_many(limits, clock):
    assert code_of(limits.request, "sid", None) is None
    limits.charge("sid", None, 40_000)  # four seconds' worth at once, and six more
    with pytest.raises(Refused, match="bytes") as refused:
        limits.request("sid", None)
    assert refused.value.code == "too_many_requests"
    assert refused.value.retry_after == pytest.approx(36, abs=0.2)
    assert code_of(limits.request, "other", None) is None
    clock.tick(36.5)
    assert code_of(limits.request, "sid", None) is None


def test_an_owner_pays_for_all_its_connections_and_nobody_for_connections_without_one(limits):
    for sid in ("a", "b", "c"):
        limits.charge(sid, "o", 3_000)
        limits.charge(f"{sid} without", None, 3_000)
    assert code_of(limits.request, "new", "o") == "too_many_requests"
    assert code_of(limits.request, "new", "another") is None
    assert code_of(limits.request, "new without", None) is None


def test_who_is_in_debt_is_not_forgotten(limits, clock):
    limits.charge("sid", "o", 1_000_000)
    clock.tick(60)
    limits.prune()
    assert code_of(limits.request, "sid", "o") == "too_many_requests"
