"""``record``: runs test code as a job, and records what it reports."""

from __future__ import annotations

import base64
import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bridge import capture
from bridge.errors import JobCancelled
from bridge.protocol.event import Event, EventType
from bridge.protocol.json_types import JobEvent, JSONObject
from bridge.reporting import current_job
from bridge.reporting.meter import Meter
from bridge.reporting.run import Run, Stoppable
from bridge.sending.outbox import LINES, MAX_BYTES, Outbox, Report
from bridge.settings import Settings
from bridge.testing.checkpoints import RecordedCheckpoints

__all__ = ["Bar", "Line", "Reported", "Step", "assert_progress", "record"]

#: Kinds that are captured by default: those of the default settings.
CAPTURED = Settings().capture


class Bar(NamedTuple):
    """The last state of a bar."""

    desc: str
    n: float
    total: float | None
    unit: str
    postfix: str
    closed: bool


class Line(NamedTuple):
    """A log line."""

    message: str
    level: str


class Step(NamedTuple):
    """A step that was listed."""

    name: str
    #: ``running``, ``succeeded``, ``failed``, ``cancelled`` or ``lost``.
    state: str
    #: Name of the step that it is a part of; None for a part of the task itself.
    parent: str | None


class RecordedRun(Run):
    """A run that keeps all its bars, those included that are taken off the screen."""

    def __init__(
        self, *, job: str, name: str, owner: str | None, capture: frozenset[str], restored: object
    ) -> None:
        super().__init__(job=job, task=job, name=name, owner=owner, capture=capture)
        self.meters: list[Meter] = []
        self.checkpoints = self.recorded = RecordedCheckpoints(restored)

    def show(
        self,
        bar: Stoppable | None,
        meter: Meter,
        position: int | None = None,
        *,
        hidden: bool = False,
    ) -> int:
        """Show a bar; see ``Run``."""
        line = super().show(bar, meter, position, hidden=hidden)
        self.meters.append(meter)
        return line


class Reported:
    """Records what is reported in a job; takes the place of the emitter that would send it.

    Args:
        run: run of the job.
    """

    def __init__(self, run: RecordedRun) -> None:
        self._run, self._outbox = run, Outbox()
        self._events: list[Event] = []

    @property
    def job(self) -> str:
        """Id of the job."""
        return self._run.job

    @property
    def events(self) -> list[JobEvent]:
        """All events so far, as JSON objects; progress is sampled before lifecycle events only."""
        gathered = [one for one in self._outbox.gather(MAX_BYTES) if isinstance(one, Event)]
        self._events += gathered
        return [event.encode() for event in self._events]

    @property
    def states(self) -> list[str]:
        """Types of the lifecycle events, in order: ``started`` and how it ended."""
        talk = ("progress", *LINES)
        return [event["type"] for event in self.events if event["type"] not in talk]

    @property
    def logs(self) -> list[Line]:
        """Log lines, in order."""
        return [Line(line["message"], line["level"]) for line in self._said("log")]

    @property
    def messages(self) -> list[str]:
        """The texts of the log lines."""
        return [line.message for line in self.logs]

    @property
    def output(self) -> str:
        """The job's output, captured streams included, as one text; bytes are read as UTF-8."""
        return "".join(
            chunk
            if isinstance(chunk, str)
            else base64.b64decode(chunk["base64"]).decode("utf-8", "replace")
            for chunk in self._said("output")
        )

    def _said(self, kind: str) -> list[Any]:
        found = [event["data"][LINES[kind]] for event in self.events if event["type"] == kind]
        return [line for lines in found for line in lines]

    @property
    def bars(self) -> list[Bar]:
        """All bars that were shown, in the order in which they were made."""
        return [_bar(meter) for meter in self._run.meters]

    @property
    def steps(self) -> list[Step]:
        """Steps of ``job.step``, in the order in which they began; of many, those listed."""
        steps = self._run.steps.sample().get("steps", [])
        names = {step["id"]: step["name"] for step in steps}
        return [Step(one["name"], one["state"], names.get(one["parent"])) for one in steps]

    @property
    def meta(self) -> JSONObject:
        """Values that ``job.set_meta`` has set."""
        return dict(self._run.meta)

    @property
    def checkpoint(self) -> Any:
        """The newest state that ``job.checkpoint`` has stored; None without one."""
        return self._run.recorded.newest

    def cancel(self) -> None:
        """Cancel the job: the next report of its code raises ``JobCancelled``."""
        self._run.cancelled = True
        self._run.notice_cancel()

    def put(self, run: Run, kind: EventType, data: JSONObject | None = None) -> None:
        """Record a lifecycle event."""
        self._outbox.put(Report(run, kind, data or {}, time.time()))

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Record a log line or a piece of output."""
        now = time.time() if at is None else at
        self._outbox.put_line(run, kind, text, now, level, run.step())

    def remove(self, run: Run) -> None:
        """Do nothing: bars are read when they are asked for."""

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Return True: nothing has to be sent."""
        return True

    def end(self, kind: EventType, data: JSONObject | None = None) -> None:
        """Record how the job ended."""
        self._run.close_steps(kind, data or {})
        self.put(self._run, kind, data)


def _bar(meter: Meter) -> Bar:
    reading = meter.reading
    text = {name: str(getattr(reading, name) or "") for name in ("desc", "unit", "postfix")}
    return Bar(n=reading.n, total=reading.total, closed=meter.over(), **text)


@contextlib.contextmanager
def record(
    *,
    owner: str | None = None,
    name: str = "test",
    captured: Iterable[str] = CAPTURED,
    restored: object = None,
) -> Iterator[Reported]:
    """Run the ``with`` block as a job, and record what is reported in it.

    Args:
        owner: owner of the job; None for none.
        name: name of the task.
        captured: kinds of ``TASKBRIDGE_CAPTURE``; default those of the default settings.
        restored: ``job.restored``, as of a later attempt; default None, as of a first one.

    Raises:
        BaseException: whatever the block raises; the job is recorded as failed or cancelled.
    """
    with recording(owner=owner, name=name, captured=captured, restored=restored) as reported:
        try:
            yield reported
        except BaseException as error:
            reported.end(*failure(error))
            raise
        reported.end("succeeded")


def failure(error: object) -> tuple[EventType, JSONObject]:
    """Return type and data of the last event of a job that raised an exception."""
    if isinstance(error, JobCancelled):
        return "cancelled", {}
    return "failed", {"error": {"class": type(error).__name__, "message": str(error)}}


@contextlib.contextmanager
def recording(
    *,
    owner: str | None,
    name: str,
    captured: Iterable[str] = CAPTURED,
    restored: object = None,
) -> Iterator[Reported]:
    """Do what :func:`record` does, except for the end, which the block has to record."""
    job, kinds, settings = str(uuid.uuid4()), frozenset(captured), Settings()
    run = RecordedRun(job=job, name=name, owner=owner, capture=kinds, restored=restored)
    reported, outer = Reported(run), current_job.here()
    capture.prepare(settings)
    current_job.enter(run, reported)
    capture.attach(kinds, settings)
    reported.put(run, "started", {"attempt": 1})
    try:
        yield reported
    finally:
        run.over = True
        current_job.leave(job)
        if outer is not None:
            current_job.enter(*outer)


def assert_progress(
    reported: Reported,
    *,
    desc: str | None = None,
    total: float | None = None,
    n: float | None = None,
    unit: str | None = None,
    finished: bool = True,
) -> Bar:
    """Return the first bar that is as described; fail, and list the bars, if there is none.

    Args:
        reported: the recorded job.
        desc: text of the bar; default any, as for the next three.
        total: total of the bar.
        n: last count of the bar.
        unit: unit of the bar.
        finished: whether the bar must have reached its total, if it has one; default True.

    Raises:
        AssertionError: there is no such bar.
    """
    __tracebackhide__ = True
    wanted = {"desc": desc, "total": total, "n": n, "unit": unit}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    for bar in reported.bars:
        done = bar.total is None or bar.n >= bar.total
        if (done or not finished) and all(getattr(bar, k) == v for k, v in wanted.items()):
            return bar
    shown = "\n".join(f"  {bar}" for bar in reported.bars) or "  none at all"
    asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
    raise AssertionError(
        f"no bar{' that finished' * finished} with {asked or 'anything'}; there were\n{shown}"
    )
