"""A run: one execution of one task, with its bars and counters."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bridge.errors import JobCancelled
from bridge.protocol.event import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.protocol.json_types import JSONObject
from bridge.protocol.task_state import end_of_steps
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.steps import NO_STEPS, Label, Steps

if TYPE_CHECKING:
    from bridge.checkpoints.attempt import Checkpoints

__all__ = ["MAX_BARS", "Run"]

#: Bars of one run that are sent at most: as many as a person can follow, and as fit an event.
MAX_BARS = 32
#: Bars beside which steps may be too large for an event, and bytes of JSON of its names and ids.
MANY_BARS, ENVELOPE = 24, 7 * 1024
#: ``execution`` of a task's first execution.
FIRST = {"attempt": 1, "redelivered": False}
#: Types of events that carry lines.
LINES = frozenset({"log", "output"})
#: Seconds between samples of a run that has gone on for a while.
INTERVAL = 0.1
#: Seconds between the first samples, so that the bar of a one-second job moves more than once.
SHORTEST_INTERVAL = 0.02
#: One empty dict in place of many; never modified.
NOTHING: JSONObject = {}


class Stoppable(Protocol):
    """A bar whose next step can be made to raise."""

    def stop(self) -> None: ...


class Run:
    """The state of a run, shared by the task's thread and the emitter's sender thread.

    The task's thread, and one for each forked child, add bars; the task's thread sets :attr:`meta`
    and reads :attr:`cancelled`; the sender thread alone samples bars; events are numbered while the
    outbox's lock is held.

    Args:
        job: id of the job, which is Celery's ``root_id``.
        task: id of the task.
        name: name of the task.
        owner: owner of the job; None without one.
        begun: number of the execution, see ``header.run_after``; 0 for events that are
            not of an execution (``queued``, ``cancelling``); default the time in microseconds
            since the epoch.
        execution: ``attempt``, ``redelivered`` and ``replaced`` as Celery knows them, sent with
            events; a server finds the newest of a task's executions by them.
        is_cancelled: returns whether the job was cancelled; None where that cannot be known.
        capture: kinds of bars and lines that are captured from other libraries; see
            ``bridge.capture``.
        node: node name of the worker that executes the task; None outside a worker.
        queue: name of the queue that the task's message is published to; None if unknown.
        clock: monotonic seconds.
    """

    #: Called with the meter of each bar that is shown, and again when it is closed.
    on_bar: Callable[[Meter], None] | None = None
    #: Checkpoints of the execution; None outside a worker, and in a forked child.
    checkpoints: Checkpoints | None = None
    #: None until the first step.
    _steps: Steps | None = None
    _told_steps: JSONObject = NO_STEPS

    def __init__(
        self,
        *,
        job: str,
        task: str,
        name: str,
        owner: str | None = None,
        begun: int | None = None,
        execution: JSONObject | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        capture: frozenset[str] = frozenset(),
        node: str | None = None,
        queue: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self.task, self.name, self.owner = job, task, name, owner
        self.begun = time.time_ns() // 1000 if begun is None else begun
        self.execution = execution or {}
        #: Execution fields of all events; empty for a first execution, where only lifecycle
        #: events carry them.
        self._later = {} if self.execution == FIRST else self.execution
        #: As the arguments say; a worker sets them before the run begins.
        self.is_cancelled, self.capture, self.node = is_cancelled, capture, node
        self.clock, self.cancelled = clock, False
        #: Whether reports raise ``JobCancelled`` once the job was cancelled. In a worker they do
        #: while the task's body runs, and not in Celery's handlers around it.
        self.interruptible = True
        #: Whether the end of the run was reported.
        self.over = False
        #: Tasks linked to this one without an id and not published yet, counted by name; None until
        #: first needed.
        self.callbacks: Counter[str] | None = None
        #: Whether the task published a message under its own id, as a retry or a replacement, and
        #: the queue of its newest message.
        self.republished, self.queue = False, queue
        #: Lines dropped so far. It only grows: tasks add to it while the sender thread reads it.
        self.dropped = 0
        #: Lines dropped so far by the rate limit; only the sender thread adds to it.
        self.limited = 0
        #: Values of ``job.set_meta`` by name; the dict is replaced, never changed in place.
        self.meta: JSONObject = {}
        self.sent_at = self.sampled_at = self.started_at = clock()
        self._placing, self._thread = threading.Lock(), threading.get_ident()
        self._meters: dict[int, Meter] = {}
        self._bars: weakref.WeakSet[Stoppable] = weakref.WeakSet()
        self._shown: list[Meter] = []
        self._told_meta = self._told_saved = self.meta
        #: Data of a skipped event, for the next event; see :meth:`skip`.
        self._skipped = NOTHING
        self._seq, self._tick, self._told = -1, 0, 0

    def show(
        self,
        bar: Stoppable | None,
        meter: Meter,
        position: int | None = None,
        *,
        hidden: bool = False,
    ) -> int:
        """Add a bar, on the lowest line that no open bar holds, as tqdm does.

        Args:
            bar: bar to stop when the job is cancelled; None for one that calls :meth:`check`.
            meter: meter of the bar. If open bars hold all lines, it is not sampled.
            position: line to take if no open bar holds it; default the lowest free one.
            hidden: whether the bar is only stopped, and never sampled; default False.

        Returns:
            The line; ``MAX_BARS`` for a bar that is not sampled.

        Raises:
            JobCancelled: the job was cancelled.
        """
        self.check()
        if bar is not None:
            self._bars.add(bar)
        if hidden:
            return MAX_BARS
        if (step := self.step()) is not None:
            meter.step = step.id
        with self._placing:
            free = [line for line in range(MAX_BARS) if self._is_free(line)]
            line = position if position in free else next(iter(free), MAX_BARS)
            if free:
                self._meters[line] = meter
        if self.on_bar:
            self.on_bar(meter)
        return line

    @property
    def steps(self) -> Steps:
        """Steps of ``job.step``, made when they are first asked for: most runs have none."""
        if self._steps is None:
            with self._placing:
                self._steps = self._steps or Steps(self.clock, self._thread)
        return self._steps

    def step(self) -> Label | None:
        """Return the label of the step that the calling code is in; None outside of any."""
        return None if self._steps is None else self._steps.label()

    def _is_free(self, line: int) -> bool:
        meter = self._meters.get(line)
        return meter is None or meter.over()

    def check(self) -> None:
        """Raise ``JobCancelled`` if the job was cancelled, and the task's body runs.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if self.cancelled and self.interruptible:
            raise JobCancelled

    def closed(self, meter: Meter) -> None:
        """Remove a closed bar from its line, unless it stays visible."""
        for line, shown in list(self._meters.items()):
            if shown is meter and not _stays(line, meter):
                self._meters.pop(line, None)
        if self.on_bar:
            self.on_bar(meter)

    def be_forked(self, on_bar: Callable[[Meter], None], on_steps: Callable[[Steps], None]) -> None:
        """Forget the bars and steps, which are the parent's, in a child that was just forked.

        Args:
            on_bar: called with the meter of each bar of the child.
            on_steps: called with its steps when one of the child's steps begins or ends.
        """
        self.on_bar, self.checkpoints = on_bar, None
        self._placing, self._thread = threading.Lock(), threading.get_ident()
        base = None if self._steps is None else self._steps.current()
        self._steps = Steps(self.clock, self._thread, os.getpid(), base)
        self._steps.on_change = on_steps
        self._meters, self._bars = {}, weakref.WeakSet()

    def close_steps(self, kind: EventType, data: JSONObject) -> None:
        """End the open steps: the execution ends with an event of this type and data."""
        if self._steps is not None:
            self._steps.close(end_of_steps(kind, data))

    def notice_cancel(self) -> None:
        """Check whether the job was cancelled, and stop its bars if so; called by the sender."""
        if not self.cancelled and self.is_cancelled is not None:
            self.cancelled = self.is_cancelled()
        if self.cancelled:
            self._stop_bars()

    def _stop_bars(self) -> None:
        try:
            for bar in list(self._bars):
                bar.stop()
        except RuntimeError:  # the task added a bar meanwhile: the next call stops all
            pass

    @property
    def reading(self) -> Reading | None:
        """Reading of the bar on the first line that has one; None without bars."""
        return next((meter.reading for _, meter in self._lines()), None)

    @property
    def share(self) -> float | None:
        """Share of the first bar that is done, from 0 to 1; None while unknown."""
        reading = self.reading
        if reading is None or not reading.total:
            return None
        return min(1.0, max(0.0, reading.n / reading.total))

    def _lines(self) -> list[tuple[int, Meter]]:
        return sorted(self._meters.copy().items())

    @property
    def interval(self) -> float:
        """Seconds until the next sample: a tenth of the run's age, within bounds."""
        age = self.clock() - self.started_at
        return min(INTERVAL, max(SHORTEST_INTERVAL, age / 10))

    def sample(self, *, force: bool = False) -> Event | None:
        """Return a progress event with all bars, or None if nothing changed since the last."""
        if self._seq < 0:
            return None  # before `started`, which has seq 0 too and would be stale
        meters = {line: one for line, one in self._lines() if _stays(line, one)}
        meta, saved = self.meta, self.checkpoints.told if self.checkpoints else NOTHING
        steps = NO_STEPS if self._steps is None else self._steps.sample()
        self.sampled_at = self.clock()
        changed = [meter for meter in meters.values() if meter.changed()]
        same = self._shown == list(meters.values()) and meta is self._told_meta
        same = same and saved == self._told_saved and steps is self._told_steps
        if same and not changed and not force:
            return None
        self._shown, self._told_meta = list(meters.values()), meta
        self._told_saved, self._told_steps = saved, steps
        self._tick += 1
        bars = [meter.sample(line) for line, meter in meters.items()]
        told = {"bars": bars, **({"meta": meta} if meta else {}), **saved, **self._later}
        return self._event("progress", _with_steps(told, steps) if steps else told)

    def event(self, kind: EventType, data: JSONObject, at: float | None = None) -> Event:
        """Return the run's next numbered event, at ``at`` seconds since the epoch; default now."""
        self._seq += 1
        self._tick = 0
        known = self._later if kind in LINES else self.execution
        return self._event(kind, {**known, **self.complete(data)}, at)

    def complete(self, data: JSONObject) -> JSONObject:
        """Return an event's data with skipped data, and the lines dropped since the last event."""
        # Not for `progress`, which may be replaced by a newer one before a client sees it.
        untold = self.dropped + self.limited - self._told
        self._told += untold
        skipped, self._skipped = self._skipped, NOTHING
        return {**skipped, **data, **({"dropped": untold} if untold else {})}

    def skip(self, data: JSONObject) -> None:
        """Skip an event number, so that clients see a gap; the next event gets ``data`` as well."""
        self._seq += 1
        self._skipped = data

    def _event(self, kind: EventType, data: JSONObject, at: float | None = None) -> Event:
        return Event(
            job=self.job,
            task=self.task,
            name=self.name,
            owner=self.owner,
            type=kind,
            run=self.begun,
            seq=max(self._seq, 0),
            tick=self._tick,
            at=time.time() if at is None else at,
            data=data,
        )


def _with_steps(told: JSONObject, steps: JSONObject) -> JSONObject:
    """Return the data of an event with steps, or with their number where bars leave no room."""
    if len(told["bars"]) > MANY_BARS:
        left = MAX_EVENT_BYTES - ENVELOPE - len(finite_json(told))
        if len(finite_json(steps)) > left:
            return {**told, "steps_omitted": len(steps["steps"]) + steps.get("steps_omitted", 0)}
    return {**told, **steps}


def _stays(line: int, meter: Meter) -> bool:
    """Whether a bar is sent: it is open, or stays visible after its end."""
    return not meter.over() or bool(line == 0 if meter.leave is None else meter.leave)
