"""When a watch asks for its job, and what it gets."""

from __future__ import annotations

import asyncio

from bridge.client.asynchronous import subscription as module
from bridge.client.asynchronous.subscription import Subscription

OK, NO = {"ok": True}, {"ok": False}


def waiting(then):
    """Run ``then`` with a subscription, and the list of its requests."""

    async def main():
        asked = []
        subscription = Subscription("job", dict, asked.append)

        async def step():
            task = asyncio.ensure_future(subscription.wait())
            await asyncio.sleep(0)
            task.cancel()

        await then(subscription, asked, step)

    asyncio.run(main())


def test_it_asks_once_for_each_answer_and_each_connection():
    async def then(one, asked, step):
        for _ in range(2):
            await step()
        assert len(asked) == 1
        one.answered(OK)
        assert one.take() == ("watch", OK)
        await step()
        assert len(asked) == 1
        one.lost("cut")
        await step()
        assert (len(asked), one.why) == (2, "cut")
        one.answered(NO)
        one.take()
        await step()
        assert len(asked) == 3

    waiting(then)


def test_events_before_the_answer_are_in_the_answer():
    async def then(one, asked, step):
        one.event({"seq": 1})
        one.answered(OK)
        one.event({"seq": 2})
        assert [one.take() for _ in range(len(one))] == [("watch", OK), ("job", {"seq": 2})]

    waiting(then)


def test_a_watch_that_is_behind_gets_no_more_and_asks_once_it_has_read_all(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)

    async def then(one, asked, step):
        one.answered(OK)
        for seq in range(5):
            one.event({"seq": seq})
        assert len(one) == 2
        await step()
        assert asked == []
        one.take()
        one.event({"seq": 5})
        assert one.take() == ("job", {"seq": 0})
        await step()
        assert len(asked) == 1

    waiting(then)


def test_it_ends_after_what_came_before():
    async def then(one, asked, step):
        one.answered(OK)
        one.end(ValueError("no"))
        assert one.take()[0] == "watch"
        assert one.take()[0] == "refused"
        one.end()
        assert one.take() is None

    waiting(then)
