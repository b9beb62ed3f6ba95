"""Sends running tasks' progress to Flower, and adds job and owner to the arguments shown there.

A custom event of Celery's, ``task-progress``, puts the task into the state PROGRESS. Flower does
not show extra fields, but it shows ``result``, until the real result replaces it.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import cast

from celery import states

from bridge.periodic_thread import PeriodicThread
from bridge.printable import printable
from bridge.protocol.json_types import JSONObject
from bridge.reporting.meter import Reading
from bridge.reporting.run import Run
from bridge.untyped import CeleryRequest, CeleryTask, CeleryWorker

__all__ = [
    "STATE",
    "describe",
    "install",
    "note_job",
    "prepare",
    "tell_revoked",
    "track",
    "untrack",
]

logger = logging.getLogger(__name__)

#: State of a task that has reported progress.
STATE = "PROGRESS"

#: Seconds that the end of a cancelled task waits for its event to be sent.
PATIENCE = 1.0
#: Characters that end a word among a task's arguments, or begin a quoted one.
SEPARATORS = " \"'\u00a0\u3000"

#: Whether the worker of this process was started with ``--task-events``.
_asked: list[bool] = []

_ticker = PeriodicThread(
    "taskbridge-monitoring", "taskbridge: progress cannot be sent to Celery's monitors: %s"
)


def install() -> None:
    """Register the precedence of the state PROGRESS, for monitors that use this application.

    A state that Celery does not know counts as later than REVOKED, so that a cancelled task would
    be shown as running for ever.
    """
    between = states.PRECEDENCE_LOOKUP[states.STARTED] - 0.5
    states.PRECEDENCE_LOOKUP.setdefault(STATE, between)


def prepare(worker: CeleryWorker) -> None:
    """Note whether a worker that starts sends events; called before its pool forks."""
    _asked[:] = [bool(worker.task_events)]


def _sends_events(task: CeleryTask) -> bool:
    return any(_asked) or bool(task.app.conf.worker_send_task_events)


def track(run: Run, task: CeleryTask) -> None:
    """Send a run's progress to monitors from now on, if its worker sends them events at all.

    Args:
        run: run whose progress is sent.
        task: the Celery task that is about to run.
    """
    if _sends_events(task):
        _ticker.add(run.task, Teller(run, task).tell)


def tell_revoked(task: CeleryTask) -> None:
    """Send the event ``task-revoked`` for the running task.

    It waits ``PATIENCE`` seconds at most; a broker that is away may lose the event.
    """
    if _sends_events(task):
        untrack(task.request.id)
        sender = threading.Thread(target=_send_revoked, args=(task, task.request), daemon=True)
        sender.start()
        sender.join(PATIENCE)


def _send_revoked(task: CeleryTask, request: CeleryRequest) -> None:
    told = {"terminated": False, "signum": None, "expired": False}
    try:
        with task.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send("task-revoked", uuid=request.id, retry=False, **told)
    except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
        logger.warning("taskbridge: task-revoked of %s cannot be sent: %s", request.id, error)


def untrack(task_id: str) -> None:
    """Stop sending the progress of a task."""
    _ticker.remove(task_id)


def note_job(headers: JSONObject, owner: str | None, page: str | None = None) -> None:
    """Add job and owner to a message's ``kwargsrepr``, in which operators search for tasks.

    Args:
        headers: headers of the message that is about to be published; changed in place.
        owner: owner of the job; None for none.
        page: URL of the page that shows jobs; a link to the job is added.
    """
    job = headers.get("root_id")
    told = f"job={job}" + (f" owner={_word(owner)}" if owner else "")
    if page:
        told += f" page={page.rstrip('/')}/#job={job}"
    text = headers.get("kwargsrepr")
    if isinstance(text, str) and told not in text:  # a retry's text may have it already
        headers["kwargsrepr"] = f"{text} {told}"


def _word(owner: str) -> str:
    """Return an owner as one word, so that it cannot pass for a page or another owner."""
    safe = printable(owner)
    return safe if set(safe).isdisjoint(SEPARATORS) else json.dumps(safe, ensure_ascii=False)


class Teller:
    """Sends ``task-progress`` events of one run to monitors."""

    def __init__(self, run: Run, task: CeleryTask) -> None:
        self._run, self._app, self._host = run, task.app, task.request.hostname
        self._told = ""

    def tell(self) -> None:
        """Send the run's progress, if it has changed.

        Raises:
            Exception: whatever the broker's library raises.
        """
        run, reading = self._run, self._run.reading
        if reading is None or run.over or (text := describe(reading)) == self._told:
            return
        fields = {"job": run.job, "owner": run.owner}
        with self._app.events.default_dispatcher(hostname=self._host) as dispatcher:
            dispatcher.send("task-progress", uuid=run.task, retry=False, result=text, **fields)
        self._told = text


def describe(reading: Reading) -> str:
    """Return a bar's reading as one line of text."""
    done, total = _number(reading.n), _number(reading.total)
    count = f"{done:,.10g}"
    if total > 0:
        count = f"{max(0.0, min(1.0, done / total)):.0%} · {count}/{total:,.10g}"
    rest = [str(reading.unit or ""), f"· {reading.desc}" if reading.desc else ""]
    return " ".join(part for part in [count, *rest] if part)


def _number(value: object) -> float:
    # A reading may hold numbers of other libraries, or no number at all.
    try:
        return float(cast("float", value))
    except (TypeError, ValueError, OverflowError):
        return 0.0
