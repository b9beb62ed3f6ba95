"""Services on asyncio: an event loop awaits and watches jobs, through whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import urllib.request
from dataclasses import replace

import pytest

from bridge import Bridge
from bridge.client.asynchronous import subscription
from bridge.errors import JobEnded, JobFailed, JobNotFound, ServerUnavailable, TokenError
from support.link import Link
from support.ports import free_port
from support.stack import Stack
from support.wait import until

UNKNOWN = "00000000-0000-4000-8000-000000000000"
#: Not the server's.
SECRET = "another secret that is long enough to sign with"
JOBS, LINES = 200, 20


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    variables = {
        "TASKBRIDGE_HEALTH_PORT": str(free_port()),
        "TASKBRIDGE_TOKEN_LEEWAY": "0.1",
    }
    stack = Stack(tmp_path_factory.mktemp("asyncio"), rabbitmq.new_vhost(), **variables)
    try:
        stack.server = stack.start_server()
        stack.start_worker("--pool", "threads", "--concurrency", "16")
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def bridge(stack):
    """A service's bridge, which has no connection left when a test ends."""
    with Bridge(settings=stack.settings) as bridge:
        yield bridge
        assert bridge._connections._open == {}


def run(main):
    """Run a coroutine function in a loop of its own, in which it has to leave no task."""

    async def bounded():
        async with asyncio.timeout(60):
            told = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return told

    return asyncio.run(bounded())


async def soon(condition, what):
    """Wait for a condition in a thread, while the loop runs."""
    return await asyncio.to_thread(until, condition, 60, what)


async def lines_of(watch):
    """Read a watch to its end, and return the lines."""
    lines = []
    async for event in watch:
        lines += [line["message"] for line in event["data"].get("lines", [])]
    return lines


def numbered(count):
    return [f"line {number}" for number in range(count)]


def test_a_coroutine_enqueues_a_job_and_awaits_its_result(bridge):
    async def main():
        job = await bridge.aenqueue("support.add", [20, 22], owner="me")
        result = await job.result(timeout=30)
        # It has ended.
        with pytest.raises(JobEnded):
            await bridge.acancel(job.id)
        types = [event["type"] async for event in bridge.awatch(job.id)]
        return result, types[-1], await job.result(), await asyncio.to_thread(job.wait, 30)

    assert run(main) == (42, "succeeded", 42, 42)


# aiohttp leaves it to Python to close the socket of a connection that was cut while it was made.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_many_watches_of_a_process_miss_nothing_while_links_are_cut_and_the_server_is_killed(
    stack,
):
    with Link(stack.port) as link:
        settings = replace(stack.settings, url=f"http://127.0.0.1:{link.port}")
        bridge = Bridge(settings=settings)
        watches, told = run(lambda: through_all(stack, bridge, link))
    assert told == [numbered(LINES)] * JOBS
    assert all(watch.recovered for watch in watches)
    assert {watch.snapshot.state for watch in watches} == {"succeeded"}
    assert bridge._connections._open == {}


async def through_all(stack, bridge, link):
    """Watch many jobs, and return the watches with the lines of each."""
    watches, told = [], [[] for _ in range(JOBS)]

    async def follow(number):
        job = await bridge.aenqueue("support.counts", [LINES], owner="me")
        watch = bridge.awatch(job.id, timeout=60)
        watches.append(watch)
        async for event in watch:
            told[number] += [line["message"] for line in event["data"].get("lines", [])]

    def reached(part):
        return lambda: sum(map(len, told)) >= part * JOBS * LINES

    def disturb():
        until(reached(0.1), 60, "some lines")
        [connections] = bridge._connections._open.values()
        shared = len(connections)
        for part in (0.2, 0.3, 0.4, 0.6, 0.8):
            link.cut()
            until(reached(part), 60, f"{part} of all lines")
            if part == 0.4:
                stack.server.kill()
                stack.server = stack.start_server()
        return shared

    *_, shared = await asyncio.gather(*map(follow, range(JOBS)), asyncio.to_thread(disturb))
    assert shared in (1, 2)  # a hundred jobs each
    return watches, told


def test_a_job_that_does_not_succeed_is_an_exception(bridge, tmp_path):
    async def main():
        job = await bridge.aenqueue("support.note", [str(tmp_path / "x"), 0, True], owner="me")
        with pytest.raises(JobFailed, match="has failed: ValueError: as it was told to") as failed:
            await job.result(timeout=30)
        assert (failed.value.state, failed.value.error["class"]) == ("failed", "ValueError")
        assert await cancelled() == "cancelled"

    async def cancelled():
        job = await bridge.aenqueue("support.work", [60], owner="me")
        with pytest.raises(TimeoutError, match=f"job {job.id} has not ended after 0.5 s: it is"):
            await job.result(timeout=0.5)
        with pytest.raises(TimeoutError, match=r"has not ended after 0\.5 s: it is running"):
            await asyncio.to_thread(job.wait, 0.5)
        await bridge.acancel(job.id)
        with pytest.raises(JobFailed) as failed:
            await job.result(timeout=30)
        return failed.value.state

    run(main)


def test_refusals_are_raised_with_their_reasons(stack, bridge):
    stranger = Bridge(settings=replace(stack.settings, secret=(SECRET,)))

    async def main():
        with pytest.raises(JobNotFound, match="id"):
            bridge.awatch("")
        for timeout in (None, 5):
            with pytest.raises(TokenError, match="token"):
                await lines_of(stranger.awatch("a-job", timeout=timeout))
        # Beside others, on the same connection.
        job = await bridge.aenqueue("support.counts", [20], owner="me")
        unknown, known = await asyncio.gather(
            lines_of(bridge.awatch(UNKNOWN)), lines_of(bridge.awatch(job.id)),
            return_exceptions=True,
        )  # fmt: skip
        assert isinstance(unknown, JobNotFound)
        assert UNKNOWN in str(unknown)
        return known

    assert run(main) == numbered(20)


def test_without_a_server_a_watch_gives_up_after_its_timeout(stack):
    url = f"http://127.0.0.1:{free_port()}"
    bridge = Bridge(settings=replace(stack.settings, url=url))
    job = bridge.enqueue("support.add", [1, 2], owner="me")

    async def main():
        with pytest.raises(ServerUnavailable, match=f"no socket server answers at {url}"):
            await lines_of(bridge.awatch(job.id, timeout=0.5))
        with pytest.raises(ServerUnavailable, match=f"no socket server answers at {url}"):
            await job.result(timeout=0.5)

    run(main)
    with pytest.raises(ServerUnavailable, match="no socket server answers"):
        job.wait(timeout=0.5)


def watches_at(stack):
    """Return how many watches the server has."""
    health = f"http://127.0.0.1:{stack.env['TASKBRIDGE_HEALTH_PORT']}"
    with urllib.request.urlopen(f"{health}/metrics", timeout=10) as answer:
        found = re.search(r"^taskbridge_watches (\S+)", answer.read().decode(), re.MULTILINE)
    return float(found[1])


def test_a_watch_that_is_left_early_leaves_nothing_behind(stack, bridge, tmp_path):
    async def by_break(watch):
        async for _ in watch:
            break

    async def by_cancelling(watch):
        task = asyncio.ensure_future(lines_of(watch))
        await soon(lambda: watches_at(stack) == 2, "a second watch")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def by_closing(watch):
        task = asyncio.ensure_future(lines_of(watch))
        await soon(lambda: watches_at(stack) == 2, "a second watch")
        await watch.aclose()
        assert await task == numbered(3)

    async def main():
        file = str(tmp_path / "end")
        first, second = [
            await bridge.aenqueue("support.counts", [3, file], owner="me") for _ in range(2)
        ]
        whole = asyncio.ensure_future(lines_of(bridge.awatch(first.id)))
        await soon(lambda: watches_at(stack) == 1, "the first watch")
        for leave in (by_break, by_cancelling, by_closing):
            await leave(bridge.awatch(second.id))
            await soon(lambda: watches_at(stack) == 1, f"the end of a watch {leave.__name__}")
        # Two watches of one job, the second of which is left, and goes on from where it was.
        async with bridge.awatch(first.id) as watch:
            async for event in watch:
                if seen := [line["message"] for line in event["data"].get("lines", [])]:
                    break
        (tmp_path / "end").touch()
        assert await whole == numbered(3)
        assert seen + await lines_of(bridge.awatch(first.id, cursor=event["cursor"])) == numbered(3)

    run(main)
    until(lambda: watches_at(stack) == 0, 20, "the end of all watches")


def test_event_loops_of_a_process_do_not_mix(bridge):
    told = []

    def loop():
        async def main():
            jobs = [await bridge.aenqueue("support.counts", [50], owner="me") for _ in range(3)]
            told.append(await asyncio.gather(*(lines_of(bridge.awatch(job.id)) for job in jobs)))

        run(main)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [[numbered(50)] * 3] * 2


def test_a_watch_that_is_read_slowly_keeps_little_and_misses_nothing(bridge, monkeypatch):
    monkeypatch.setattr(subscription, "MOST", 3)

    async def main():
        job = await bridge.aenqueue("support.counts", [200], owner="me")
        lines, ended = [], asyncio.ensure_future(job.result())
        async with bridge.awatch(job.id) as watch:
            async for event in watch:
                lines += [line["message"] for line in event["data"].get("lines", [])]
                if lines and not ended.done():
                    await ended
                    assert len(watch._place[1]) <= 3
        return lines

    assert run(main) == numbered(200)


def test_a_token_is_replaced_before_it_expires_without_a_new_connection(stack):
    class Brief(Bridge):
        def token(self, **claims):
            return super().token(**{**claims, "ttl": 1.5})

    bridge = Brief(settings=stack.settings)

    async def main():
        job = await bridge.aenqueue("support.counts", [300], owner="me")
        return job.id, await lines_of(bridge.awatch(job.id))

    job, lines = run(main)
    assert lines == numbered(300)
    connects = re.findall(rf"INFO connect .*{job}", stack.server.output)
    assert len(connects) == 1
