"""How long jobs of a name took so far, and so how long one is expected to take. Pure."""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from typing import Any

from bridge.protocol.snapshot import Snapshot

__all__ = ["ENOUGH", "Durations"]

#: Jobs of a name that an estimate needs: with fewer, its range says nothing.
ENOUGH = 5
#: Jobs of a name that are remembered, the newest, and names.
MAX_JOBS, MAX_NAMES = 50, 1000


class Durations:
    """Remembers how long the newest jobs of each name waited and ran."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, deque[tuple[float, float]]] = OrderedDict()

    def note(self, snapshot: Snapshot) -> None:
        """Remember a job that has succeeded; one whose times are not all known is left out."""
        queued, started, ended = snapshot.queued_at, snapshot.started_at, snapshot.ended_at
        if queued is None or started is None or ended is None or not snapshot.name:
            return
        times = self._names.setdefault(snapshot.name, deque(maxlen=MAX_JOBS))
        # Clocks of two machines may disagree by more than a job waits.
        times.append((max(0.0, started - queued), max(0.0, ended - started)))
        self._names.move_to_end(snapshot.name)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)

    def expect(self, snapshot: Snapshot, now: float) -> dict[str, Any] | None:
        """Return when a job will be over, if it is like eight in ten of those before it.

        Args:
            snapshot: of the job.
            now: seconds since the epoch.

        Returns:
            ``earliest`` and ``latest`` in seconds since the epoch, and ``jobs``, from how many that
            is known; None where it is not, or where the job has taken longer already.
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

    def _start(self, snapshot: Snapshot, times: Any, now: float) -> tuple[float, float]:
        """Return when it began, or will begin, at the earliest and at the latest."""
        if snapshot.started_at is not None:
            return snapshot.started_at, snapshot.started_at
        queued = snapshot.queued_at or now
        short, long = _range([waited for waited, _ in times])
        return max(now, queued + short), max(now, queued + long)


def _range(values: list[float]) -> tuple[float, float]:
    """Return the bounds that hold all but the lowest and the highest tenth."""
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]
