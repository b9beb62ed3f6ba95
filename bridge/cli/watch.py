"""``taskbridge watch``: a job in the terminal, live."""

from __future__ import annotations

import base64
import json
from typing import Any, Protocol

import click
from rich.console import Console

from bridge.cli.format import COLOURS, counts, duration, percent
from bridge.cli.live import LiveView
from bridge.client import Bridge
from bridge.snapshot import Snapshot

__all__ = ["follow"]

GAP = "some lines may be missing: the server does not hold all that this job has reported"
#: Seconds to wait for a server before saying that there is none.
TIMEOUT = 10.0


class View(Protocol):
    """Something that shows a job."""

    def show(self, event: dict[str, Any], snapshot: Snapshot) -> None: ...
    def close(self, snapshot: Snapshot) -> None: ...


class JsonView:
    """One JSON event a line, for scripts."""

    def show(self, event: dict[str, Any], snapshot: Snapshot) -> None:
        click.echo(json.dumps(event))

    def close(self, snapshot: Snapshot) -> None:
        pass


class PlainView:
    """A line whenever a bar has moved by a percent; for logs and pipes."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, int], Any] = {}

    def show(self, event: dict[str, Any], snapshot: Snapshot) -> None:
        for line in lines(event):
            click.echo(line)
        for position, bar in enumerate(snapshot.bars):
            self._bar(position, bar)

    def _bar(self, position: int, bar: dict[str, Any]) -> None:
        key, step = (bar["desc"], position), percent(bar)
        # Without a total there is no percent; a line each time the count has doubled.
        mark = (step if step is not None else int(bar["n"]).bit_length(), bar["closed"])
        if self._shown.get(key) != mark:
            self._shown[key] = mark
            head = f"{bar['desc'] or 'progress'}: "
            tail = "" if bar["eta"] is None or bar["closed"] else f", {duration(bar['eta'])} left"
            click.echo(f"{head}{'' if step is None else f'{step}% '}({counts(bar)}{tail})")

    def close(self, snapshot: Snapshot) -> None:
        click.echo(ending(snapshot))


def lines(event: dict[str, Any]) -> list[str]:
    """Return what an event has to say besides bars, as plain lines."""
    data = event["data"]
    if event["type"] == "log":
        return [_log(line) for line in data.get("lines", [])]
    if event["type"] == "output":
        return "".join(_text(chunk) for chunk in data.get("chunks", [])).splitlines()
    if event["type"] == "retrying":
        return [f"retrying after {_error(data.get('error'))}"]
    if event["type"] == "cancelling":
        return ["cancelling"]
    return []


def _text(chunk: str | dict[str, str]) -> str:
    if isinstance(chunk, str):
        return chunk
    return base64.b64decode(chunk["base64"]).decode("utf-8", "replace")


def _log(line: dict[str, Any]) -> str:
    level = line.get("level", "INFO")
    return str(line["message"]) if level == "INFO" else f"{level}: {line['message']}"


def _error(error: dict[str, Any] | None) -> str:
    return f"{error['class']}: {error['message']}" if error else "an error"


def ending(snapshot: Snapshot) -> str:
    """Return the sentence with which a job ends."""
    state = snapshot.encode()
    began, ended = state["started_at"] or state["queued_at"], state["ended_at"]
    took = f" in {duration(ended - began)}" if began and ended else ""
    why = f": {_error(state['error'])}" if state.get("error") else ""
    if state.get("result") is not None:
        why = f": {json.dumps(state['result'])}"
    dropped = state["dropped"]
    lost = f" ({dropped:,} lines of log or output were dropped)" if dropped else ""
    return f"{state['state']}{took}{why}{lost}"


def follow(bridge: Bridge, job: str, *, as_json: bool = False) -> int:
    """Show a job until it ends.

    Returns:
        Exit status: 0 if it succeeded, 1 if not, 130 if the person stopped watching.
    """
    watcher = bridge.watch(job, timeout=TIMEOUT)
    view = _view(as_json)
    complete = True
    try:
        for event in watcher:
            view.show(event, watcher.snapshot)
            if complete and not watcher.recovered:
                complete = False
                click.echo(GAP, err=True)
    except KeyboardInterrupt:
        view.close(watcher.snapshot)
        click.echo(f"\nstopped watching; the job goes on: taskbridge watch {job}", err=True)
        return 130
    view.close(watcher.snapshot)
    return 0 if watcher.snapshot.state == "succeeded" else 1


def _view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    console = Console()
    return LiveView(console, lines, _coloured) if console.is_terminal else PlainView()


def _coloured(snapshot: Snapshot) -> tuple[str, str]:
    return ending(snapshot), COLOURS[snapshot.state]
