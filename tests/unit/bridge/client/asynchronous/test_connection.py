"""Which requests a shared connection sends, and how fast."""

from __future__ import annotations

import asyncio

from bridge import Bridge, Settings
from bridge.client.asynchronous import connection as module
from bridge.client.asynchronous.connection import SharedConnection

SECRET = "a secret for tests that is long enough to sign with"
SLOWER = {"code": "too_many_requests", "message": "slower", "retry_after": 0.01}


class Server:
    """Takes the place of connections: answers requests, and keeps them."""

    def __init__(self, *answers):
        self.asked, self.tokens, self._answers = [], [], list(answers)
        self.closing = self.closed = False

    def __call__(self, url, path, handlers):
        self.handlers = handlers
        return self

    def connected(self, token):
        self.tokens.append(token)
        return self

    async def __aenter__(self):
        self.ended = asyncio.get_running_loop().create_future()
        return self.ended

    async def __aexit__(self, *_):
        self.closing = True
        await asyncio.sleep(0.01)
        self.closed = True

    async def request(self, name, data, on_answer=None):
        await asyncio.sleep(0)
        answer = self._answers.pop(0) if self._answers else {"ok": True}
        self.asked.append((name, data.get("job")))
        if on_answer:
            on_answer(answer)
        return answer


def with_jobs(monkeypatch, server, jobs, then, **settings):
    """Have jobs watched on one connection until ``then`` returns."""
    monkeypatch.setattr(module, "AsyncSocketClient", server)
    bridge = Bridge(settings=Settings(secret=(SECRET,), **settings))

    async def main():
        shared = SharedConnection(bridge, None, lambda _: None)
        joined = {job: shared.join(job, lambda job=job: {"job": job}) for job in jobs}
        waits = [asyncio.ensure_future(one.wait()) for one in joined.values()]
        async with asyncio.timeout(20):
            await then(shared, joined)
        for one in waits:
            one.cancel()
        for one in joined.values():
            await shared.leave(one)

    asyncio.run(main())


async def reached(condition):
    while not condition():
        await asyncio.sleep(0)


def test_jobs_that_come_together_are_watched_with_one_token(monkeypatch):
    server = Server()

    async def then(shared, joined):
        await reached(lambda: len(server.asked) == 3)

    with_jobs(monkeypatch, server, ["a", "b", "c"], then)
    assert server.asked == [("watch", "a"), ("watch", "b"), ("watch", "c")]
    assert len(server.tokens) == 1


def test_jobs_that_come_later_are_named_by_one_more_token_and_then_dropped_by_one(monkeypatch):
    server = Server()

    async def then(shared, joined):
        await reached(lambda: server.asked == [("watch", "a")])
        later = [shared.join(job, lambda job=job: {"job": job}) for job in ("b", "c")]
        for one in later:
            shared._ask(one)
        await reached(lambda: len(server.asked) == 4)
        for one in later:
            await shared.leave(one)
            await asyncio.sleep(0)
        await reached(lambda: len(server.asked) == 5)

    monkeypatch.setattr(module, "DROP", 0.2)
    with_jobs(monkeypatch, server, ["a"], then)
    assert server.asked[-4:] == [
        ("refresh", None),
        ("watch", "b"),
        ("watch", "c"),
        ("refresh", None),
    ]


def test_a_watch_that_leaves_twice_waits_twice_for_the_end_of_the_connection(monkeypatch):
    server, ended = Server(), []

    async def then(shared, joined):
        await reached(lambda: server.asked)

        async def leave():
            await shared.leave(joined["a"])
            ended.append(server.closed)

        first = asyncio.ensure_future(leave())
        await reached(lambda: server.closing)
        await leave()
        await first

    with_jobs(monkeypatch, server, ["a"], then)
    assert ended == [True, True]


def test_requests_are_spaced_once_the_server_has_had_too_many(monkeypatch):
    server = Server({"ok": False, "error": SLOWER})

    async def then(shared, joined):
        assert shared._pause({"ok": True}) == 0.0
        await reached(lambda: shared._gap)
        assert shared._pause({"ok": True}) == 0.1
        assert shared._pause({"ok": False, "error": SLOWER}) == 0.01

    with_jobs(monkeypatch, server, ["a"], then, requests_per_second=10.0)
