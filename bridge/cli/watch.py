"""``taskbridge watch``: shows a job in the terminal until it ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import click

from bridge.cli.console import confirm, echo, echo_json, echo_output, new_console
from bridge.cli.format import COLOURS, counts, duration, percent, saved
from bridge.cli.lines import Lines, error_text
from bridge.cli.live import LiveView
from bridge.cli.request import cancel
from bridge.cli.views.steps import StepLines
from bridge.client.bridge import Bridge
from bridge.client.watcher import Watcher
from bridge.errors import TaskbridgeError
from bridge.protocol.json_types import BarData, JobEvent, QueuePlace
from bridge.protocol.snapshot import Snapshot

__all__ = ["follow"]

GAP = "some lines may be missing: the server does not hold all that this job has reported"
#: Seconds without a connection to a server before giving up.
TIMEOUT = 10.0
#: Seconds to wait for a second Ctrl-C.
SECOND = 1.0


class View(Protocol):
    """Interface of the classes that show a job."""

    def show(self, event: JobEvent, snapshot: Snapshot) -> None:
        """Show an event, and the state after it."""

    def pause(self) -> None:
        """Stop drawing, so that others can print."""

    def close(self, snapshot: Snapshot) -> None:
        """Show how the job ended."""


class JsonView:
    """Prints one JSON event a line, for scripts."""

    def show(self, event: JobEvent, snapshot: Snapshot) -> None:
        echo_json(event)

    def pause(self) -> None:
        pass

    def close(self, snapshot: Snapshot) -> None:
        pass


class PlainView:
    """Prints a line whenever a bar has moved by a percent, or a step begins or ends; for pipes.

    The job's output is passed on unchanged, except that its last line gets a missing line end.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._steps = StepLines()
        self._shown: dict[tuple[str, int], tuple[int, bool]] = {}
        self._known: tuple[QueuePlace | None, bool] = (None, True)
        self._title: str | None = None

    def show(self, event: JobEvent, snapshot: Snapshot) -> None:
        if snapshot.title and self._title is None:
            self._title = snapshot.title
            echo(self._title)
        self._print(self._lines.of(event))
        for line in self._steps.of(event, snapshot):
            echo(line)
        self._wait(snapshot)
        for position, bar in enumerate(snapshot.bars):
            self._bar(position, bar, "" if position else saved(snapshot.saved))

    def _wait(self, snapshot: Snapshot) -> None:
        expected = snapshot.estimate
        # The estimated end is left out: it changes often, and would print a line each time.
        known = (expected.get("queue"), expected.get("eta") is None)
        if known != self._known and (told := waits(snapshot)):
            echo(told)
        self._known = known

    def _bar(self, position: int, bar: BarData, stored: str) -> None:
        key, step = (bar["desc"], position), percent(bar)
        # Without a total there is no percent; a line each time the count has doubled.
        mark = (step if step is not None else int(bar["n"]).bit_length(), bar["closed"])
        if self._shown.get(key) != mark:
            self._shown[key] = mark
            head = f"{bar['desc'] or 'progress'}: "
            tail = "" if bar["eta"] is None or bar["closed"] else f", {duration(bar['eta'])} left"
            tail += f", {stored}" if stored else ""
            echo(f"{head}{'' if step is None else f'{step}% '}({counts(bar)}{tail})")

    def close(self, snapshot: Snapshot) -> None:
        self.pause()
        echo(ending(snapshot))

    def pause(self) -> None:
        self._print(self._lines.rest())

    def _print(self, lines: Sequence[str | bytes]) -> None:
        for line in lines:
            echo_output(line) if isinstance(line, bytes) else echo(line)


def waits(snapshot: Snapshot) -> str:
    """Return what a job waits for, and how long it may take; empty if that is not known."""
    state = snapshot.encode()
    queue, eta = state["queue"], state["eta"]
    told = [_place(queue)] if queue else []
    if eta and (most := eta["latest"] - time.time()) > 0:
        least = max(0.0, eta["earliest"] - time.time())
        told.append(f"{duration(least)} to {duration(most)} left, as the last {eta['jobs']} took")
    return "; ".join(told)


def _place(queue: QueuePlace) -> str:
    if queue["workers"] is False:
        return f"no worker is consuming the queue {queue['name']}"
    if queue.get("taken"):
        return (
            "a worker has taken it, and is busy, or does not report: it reports if its application "
            "has called bridge.install(app)"
        )
    if queue["ahead"] is None:
        return f"waiting in the queue {queue['name']}"
    count = queue["ahead"]
    return f"about {count:,} {'task' if count == 1 else 'tasks'} ahead in the queue {queue['name']}"


def ending(snapshot: Snapshot) -> str:
    """Return the sentence that says how a job ended."""
    state = snapshot.encode()
    began, ended = state["started_at"] or state["queued_at"], state["ended_at"]
    took = f" in {duration(ended - began)}" if began and ended else ""
    why = f": {error_text(state['error'])}" if state.get("error") else ""
    if state["reason"] and not why:
        why = f": {state['reason']}"
    if state.get("result") is not None:
        why = f": {json.dumps(state['result'])}"
    dropped = state["dropped"]
    lost = f" ({dropped:,} lines of log or output were dropped)" if dropped else ""
    return f"{state['state']}{took}{why}{lost}"


def follow(bridge: Bridge, job: str, *, as_json: bool = False) -> int:
    """Show a job until it ends, or until Ctrl-C.

    At a terminal, a second Ctrl-C within ``SECOND`` seconds offers to cancel the job.

    Returns:
        Exit status: 0 if the job succeeded, 1 if not, 130 after Ctrl-C.
    """
    watcher = bridge.watch(job, timeout=TIMEOUT)
    while True:
        view = _view(as_json)
        try:
            _show(watcher, view)
        except KeyboardInterrupt:
            view.pause()
            if not _wants_to_cancel():
                echo(f"\nstopped watching; the job goes on: taskbridge watch {job}", err=True)
                return 130
            try:
                cancel(bridge, job)
            except TaskbridgeError as error:  # it may have ended meanwhile
                echo(f"taskbridge: {error}", err=True)
            watcher = bridge.watch(job, timeout=TIMEOUT, cursor=watcher.cursor)
            continue
        view.close(watcher.snapshot)
        return 0 if watcher.snapshot.state == "succeeded" else 1


def _show(watcher: Watcher, view: View) -> None:
    complete = True
    for event in watcher:
        view.show(event, watcher.snapshot)
        if complete and not watcher.recovered:
            complete = False
            echo(GAP, err=True)


def _wants_to_cancel() -> bool:
    """Wait for a second Ctrl-C at a terminal; return whether the user confirms the cancel."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        echo("\nCtrl-C once more to cancel the job", err=True)
        time.sleep(SECOND)
    except KeyboardInterrupt:
        try:
            return confirm("\nCancel the job?")
        except click.Abort:
            return False
    return False


def _view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    console = new_console()
    return LiveView(console, waits, _coloured) if console.is_terminal else PlainView()


def _coloured(snapshot: Snapshot) -> tuple[str, str]:
    return ending(snapshot), COLOURS.get(snapshot.state, "")
