"""``taskbridge jobs`` and ``taskbridge settings``: tables."""

from __future__ import annotations

import os
import time

from rich.table import Table

from bridge.cli.console import cell, echo, echo_json, new_console
from bridge.cli.format import COLOURS, duration
from bridge.cli.request import request
from bridge.client.bridge import Bridge
from bridge.protocol.json_types import JSONObject, SnapshotData
from bridge.settings import reference

__all__ = ["show", "show_settings"]


def show(bridge: Bridge, owner: str, *, state: str | None, limit: int, as_json: bool) -> None:
    """Print an owner's jobs, newest first."""
    jobs = _all(bridge, owner, {"state": state} if state else {}, limit)
    if as_json:
        for job in jobs:
            echo_json(job)
        return
    if not jobs:
        echo(f"{owner} has no jobs here", err=True)
        return
    new_console().print(_table(jobs))


def _all(bridge: Bridge, owner: str, payload: JSONObject, limit: int) -> list[SnapshotData]:
    """Return an owner's jobs, ``limit`` at most, from as many pages as it takes."""
    token, shard = bridge.token(owner=owner), bridge.shard(owner)
    jobs: list[SnapshotData] = []
    while True:
        answer = request(bridge, "jobs", {**payload, "limit": limit - len(jobs)}, token, shard)
        jobs += answer["jobs"]
        if not (answer["jobs"] and answer.get("next") and len(jobs) < limit):
            return jobs
        payload = {**payload, "next": answer["next"]}


def _table(jobs: list[SnapshotData]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("job", "task", "state", "progress", "age"):
        table.add_column(column, no_wrap=column == "job")
    for job in jobs:
        state = job["state"]
        age = duration(time.time() - (job["queued_at"] or job["at"]))
        told = cell(state, COLOURS.get(state, "")) + (", no news" if job["stalled"] else "")
        table.add_row(
            cell(job["job"]), cell(job.get("title") or job["name"]), told, _progress(job), age
        )
    return table


def _progress(job: SnapshotData) -> str:
    if not job["bars"] or not job["bars"][0]["total"]:
        return ""
    return f"{100 * job['bars'][0]['n'] / job['bars'][0]['total']:.0f} %"


def show_settings() -> None:
    """Print all settings: on a terminal as a table, else as a line each with tabs."""
    given = {name.removesuffix("_FILE") for name in os.environ if os.environ[name]}
    console = new_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "variable", "default", "meaning"):
        table.add_column(column, no_wrap=column == "variable")
    for one in reference.settings():
        mark = "●" if one.variable in given else ""
        if console.is_terminal:
            table.add_row(mark, one.variable, one.default, one.meaning)
        else:
            echo("\t".join([mark, *one]))
    if console.is_terminal:
        console.print(table)
