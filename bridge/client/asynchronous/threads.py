"""Calls that wait for a broker, in threads, so that no event loop waits for them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["in_thread"]

P = ParamSpec("P")
R = TypeVar("R")

#: Most calls of a process at a time. Not asyncio's own threads: calls that wait for a broker that
#: is away would take all of them, and asyncio looks up host names there.
THREADS = 8


async def in_thread(function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Call a function in a thread, with the caller's context variables, and return its result.

    A caller that is cancelled does not wait; a call that has begun goes on.
    """
    call = functools.partial(contextvars.copy_context().run, function, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(_threads(os.getpid()), call)


@functools.cache
def _threads(pid: int) -> ThreadPoolExecutor:
    """Return the threads of a process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix=f"taskbridge-{pid}")
