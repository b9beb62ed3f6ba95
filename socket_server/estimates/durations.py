"""``Durations``: estimates when a job ends, from earlier jobs of the same name. Pure."""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Collection

from bridge.protocol.json_types import Expectation
from bridge.protocol.snapshot import Snapshot

__all__ = ["ENOUGH", "Durations"]

#: Minimum jobs of a name for an estimate: with fewer, its range means nothing.
ENOUGH = 5
#: Maximum jobs of a name that are remembered, the newest ones, and maximum names.
MAX_JOBS, MAX_NAMES = 50, 1000


class Durations:
    """Waiting and running times of the newest jobs of each name."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, deque[tuple[float, float]]] = OrderedDict()

    def note(self, snapshot: Snapshot) -> None:
        """Remember the times of a job that has succeeded; ignored if not all of them are known."""
        queued, started, ended = snapshot.queued_at, snapshot.started_at, snapshot.ended_at
        if queued is None or started is None or ended is None or not snapshot.name:
            return
        times = self._names.setdefault(snapshot.name, deque(maxlen=MAX_JOBS))
        # Times of two machines, whose clocks may differ by more than a job waits.
        times.append((max(0.0, started - queued), max(0.0, ended - started)))
        self._names.move_to_end(snapshot.name)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)

    def expect(self, snapshot: Snapshot, now: float) -> Expectation | None:
        """Return when a job is expected to end.

        The range is that of the earlier jobs without the slowest and the quickest tenth.

        Args:
            snapshot: snapshot of the job.
            now: seconds since the epoch.

        Returns:
            The range; None with fewer than ``ENOUGH`` jobs, if the job has ended, or if it has
            taken longer already.
        """
        times = self._names.get(snapshot.name, ())
        if len(times) < ENOUGH or snapshot.ended:
            return None
        begin, end = self._start(snapshot, times, now)
        short, long = _range([ran for _, ran in times])
        if now > end + long:
            return None
        earliest, latest = round(begin + short, 1), round(end + long, 1)
        return {"earliest": earliest, "latest": latest, "jobs": len(times)}

    def _start(
        self, snapshot: Snapshot, times: Collection[tuple[float, float]], now: float
    ) -> tuple[float, float]:
        """Return when the job began, or is expected to begin at the earliest and at the latest."""
        if snapshot.started_at is not None:
            return snapshot.started_at, snapshot.started_at
        queued = snapshot.queued_at or now
        short, long = _range([waited for waited, _ in times])
        return max(now, queued + short), max(now, queued + long)


def _range(values: list[float]) -> tuple[float, float]:
    """Return the bounds of all values but the lowest and the highest tenth."""
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]
