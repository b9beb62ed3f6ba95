"""Replays of recorded runs: what taskbridge, tqdm and rich show of each as the time left."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.progress import Progress
from tqdm import tqdm

from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import SHORTEST_INTERVAL, Run
from bridge.sending.emitter import HEARTBEATS
from bridge.settings import Settings

#: Seconds at which each step is finished, and the count after it.
Updates = list[tuple[float, int]]
#: Time left that is shown at each moment, in seconds; None where nothing is shown.
Shown = list[float | None]

#: Seconds between the steps of a stretch with many small ones; all three look ten times a second.
FINE = 0.005
#: Seconds from a bar's beginning to its first sample, half an interval: the sender is never at once
#: there, and finds no step.
FIRST_SAMPLE = SHORTEST_INTERVAL / 2
#: Seconds between two looks of ``rich.progress.track`` at its count.
TRACK_PERIOD = 0.1


class Clock:
    """Seconds that pass when they are set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def updates(run: dict[str, Any]) -> Updates:
    """Return a run's steps: between two recorded points they are finished at an even pace."""
    found, before = [], (0.0, run["initial"])
    for seconds, n in zip(run["seconds"], run["n"], strict=True):
        (begun, first), (lasted, count) = before, (seconds - before[0], n - before[1])
        if run["step"] > 1 or count > 1000:
            count = min(count, math.ceil(lasted / FINE) or 1)
        found += [
            (begun + lasted * part / count, first + (n - first) * part // count)
            for part in range(1, count + 1)
        ]
        before = seconds, n
    return found


def ours(run: dict[str, Any], steps: Updates, moments: list[float]) -> Iterator[float | None]:
    """Yield what a client shows: the newest sample, taken as the sender thread takes it."""
    clock, silence = Clock(), Settings().stalled_after / HEARTBEATS
    bar = SimpleNamespace(n=run["initial"])
    reporting = Run(job="job", task="task", name="run", clock=clock)
    reporting.show(None, Meter(lambda: Reading(bar.n, run["total"]), clock=clock))
    reporting.event("started", {})
    shown, at = None, 0
    clock.now = FIRST_SAMPLE
    for moment in moments:
        while clock.now <= moment:
            while at < len(steps) and steps[at][0] <= clock.now:
                bar.n = steps[at][1]
                at += 1
            event = reporting.sample(force=clock.now - reporting.sent_at >= silence)
            if event is not None:
                shown = event.data["bars"][0]["eta"]
                reporting.sent_at = clock.now
            clock.now += reporting.interval
        yield shown


class Tqdm(tqdm):  # type: ignore[type-arg]
    """A tqdm bar that keeps the time left that it draws."""

    monitor_interval = 0  # its thread would look at the real clock
    shown: float | None = None

    def display(self, *_: object, **__: object) -> None:
        """Compute the time left as ``format_meter`` does."""
        now = self.format_dict
        done, rate = now["n"] - now["initial"], now["rate"]
        if rate is None and now["elapsed"]:
            rate = done / now["elapsed"]
        self.shown = (now["total"] - now["n"]) / rate if rate else None

    def look_after(self, now: float) -> None:
        """Do what the monitor thread does every ten seconds."""
        if self.miniters > 1 and now - self.last_print_t >= self.maxinterval:
            self.miniters = 1
            self.refresh(nolock=True)


def tqdms(run: dict[str, Any], steps: Updates, moments: list[float]) -> Iterator[float | None]:
    """Yield what tqdm draws, with its defaults."""
    clock = Clock()
    bar = Tqdm(total=run["total"], initial=run["initial"], file=io.StringIO())
    bar._time = clock
    bar.start_t = bar.last_print_t = clock.now
    bar.shown = None
    at, looked = 0, 0.0
    for moment in moments:
        while at < len(steps) and steps[at][0] <= moment:
            clock.now, n = steps[at]
            while looked + 10 <= clock.now:
                looked += 10
                bar.look_after(looked)
            bar.update(n - bar.n)
            at += 1
        yield bar.shown
    bar.disable = True


def riches(run: dict[str, Any], steps: Updates, moments: list[float]) -> Iterator[float | None]:
    """Yield what ``rich.progress.track`` shows, not rounded up to whole seconds as rich does."""
    clock = Clock()
    bars = Progress(get_time=clock, console=Console(file=io.StringIO()), auto_refresh=False)
    bars.add_task("run", total=run["total"], completed=run["initial"])
    task = bars.tasks[0]
    n, at = run["initial"], 0
    for moment in moments:
        while clock.now + TRACK_PERIOD <= moment:
            clock.now += TRACK_PERIOD
            while at < len(steps) and steps[at][0] <= clock.now:
                n = steps[at][1]
                at += 1
            if n != task.completed:
                bars.advance(task.id, n - task.completed)
        yield task.remaining / task.speed if task.speed and task.remaining is not None else None


def averages(run: dict[str, Any], steps: Updates, moments: list[float]) -> Iterator[float | None]:
    """Yield what follows from the average of the whole run, as of the bar that counts tasks."""
    at, shown = 0, None
    for moment in moments:
        while at < len(steps) and steps[at][0] <= moment:
            seconds, n = steps[at]
            if n > run["initial"]:
                shown = (run["total"] - n) * seconds / (n - run["initial"])
            at += 1
        yield shown


Estimator = Callable[[dict[str, Any], Updates, list[float]], Iterator[float | None]]
ESTIMATORS: dict[str, Estimator] = {
    "taskbridge": ours,
    "tqdm": tqdms,
    "rich": riches,
    "average": averages,
}
