"""Calls in threads: the event loop goes on, and the caller's context is theirs."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from bridge.client.asynchronous.threads import THREADS, in_thread

WHO = contextvars.ContextVar("who", default="nobody")


def test_the_event_loop_goes_on_while_all_threads_wait():
    begun, go = threading.Semaphore(0), threading.Event()

    def wait(number):
        begun.release()
        assert go.wait(20)
        return number, WHO.get()

    async def main():
        WHO.set("ada")
        calls = [asyncio.ensure_future(in_thread(wait, number)) for number in range(THREADS + 1)]
        for _ in range(THREADS):
            assert await asyncio.to_thread(begun.acquire, timeout=20)
        assert not begun.acquire(blocking=False)
        go.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [(number, "ada") for number in range(THREADS + 1)]


def test_an_error_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(divmod, 1, 0))
