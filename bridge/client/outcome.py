"""What a service gets of a job that it waits for: the result, or an exception."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bridge.errors import JobFailed, ResultsUnavailable, ServerUnavailable
from bridge.protocol.json_types import SnapshotData
from bridge.protocol.snapshot import Snapshot

if TYPE_CHECKING:
    from bridge.client.asynchronous.watcher import AsyncWatcher
    from bridge.client.watcher import Watcher

__all__ = ["final", "final_async", "result"]

#: Endings of a job without a result, for error messages.
ENDINGS = {"failed": "has failed", "cancelled": "was cancelled", "lost": "was lost"}


def final(watcher: Watcher, timeout: float | None) -> SnapshotData:
    """Wait for a job's end, and return its snapshot; see :meth:`bridge.Job.wait`."""
    try:
        for _ in watcher:
            pass
    except TimeoutError:
        raise _too_late(watcher.snapshot, timeout) from None
    return watcher.snapshot.encode()


async def final_async(watch: AsyncWatcher, timeout: float | None) -> SnapshotData:
    """Wait for a job's end, and return its snapshot; see :meth:`bridge.Job.result`."""
    async with watch:
        try:
            async with asyncio.timeout(timeout):
                async for _ in watch:
                    pass
        except TimeoutError:
            if watch.why:
                raise ServerUnavailable(watch.why) from None
            raise _too_late(watch.snapshot, timeout) from None
    return watch.snapshot.encode()


def _too_late(snapshot: Snapshot, timeout: float | None) -> TimeoutError:
    return TimeoutError(
        f"job {snapshot.job} has not ended after {timeout:g} s: it is {snapshot.state}"
    )


def result(snapshot: SnapshotData) -> Any:
    """Return the result of a job that has ended; None if it ended without one.

    Raises:
        JobFailed: it did not succeed.
        ResultsUnavailable: its result is too large to travel, or no JSON.
    """
    job, state = snapshot["job"], snapshot["state"]
    if state != "succeeded":
        error = snapshot["error"]
        why = f"{error['class']}: {error['message']}" if error else snapshot["reason"]
        told = f"job {job} {ENDINGS.get(state, state)}"
        raise JobFailed(f"{told}: {why}" if why else told, state, error)
    if snapshot.get("result_omitted"):
        raise ResultsUnavailable(
            f"the result of job {job} is no JSON or takes more than 16 KiB: read it with Celery's "
            "AsyncResult"
        )
    return snapshot.get("result")
