"""How many jobs share a connection."""

from __future__ import annotations

import asyncio

import pytest

from bridge.client.asynchronous.subscription import Subscription
from bridge.client.asynchronous.subscriptions import MAX_JOBS, Subscriptions


def subscription(job):
    return Subscription(job, dict, print)


@pytest.mark.parametrize(
    ("allowed", "ids", "most"),
    [
        (1000, "{}", MAX_JOBS),
        (7, "{}", 7),
        (1000, "{}" + "x" * 200, 79),
        (1000, "{}" + "é" * 99, 27),
    ],
    ids=["any", "a server that allows fewer", "long ids", "ids that are long as JSON"],
)
def test_a_connection_takes_as_many_jobs_as_a_server_allows_and_a_token_bears(allowed, ids, most):
    async def main():
        ours, taken = Subscriptions(allowed), []
        while ours.takes(job := ids.format(len(taken))):
            taken.append(subscription(job))
            ours.add(taken[-1])
        assert len(taken) == most
        assert ours.takes(taken[0].job)
        for one in taken:
            assert [ours.discard(one), ours.discard(one)] == [True, False]
        assert not ours.jobs
        assert ours._bytes == 0

    asyncio.run(main())


def test_a_job_is_there_until_its_last_watch_has_left():
    async def main():
        ours, both = Subscriptions(10), [subscription("a"), subscription("a")]
        for one in both:
            ours.add(one)
        assert set(ours) == set(ours.of("a")) == set(both)
        ours.discard(both[0])
        assert list(ours.jobs) == ["a"]
        ours.discard(both[1])
        assert (list(ours.jobs), ours.of("a"), ours.of(None)) == ([], [], [])

    asyncio.run(main())
