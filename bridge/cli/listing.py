"""``taskbridge jobs`` and ``taskbridge settings``: tables."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from rich.table import Table

from bridge.cli.console import cell, echo, echo_json, new_console
from bridge.cli.format import COLOURS, duration
from bridge.cli.request import request
from bridge.client.bridge import Bridge
from bridge.protocol.json_types import JSONObject, SnapshotData
from bridge.settings import reference

__all__ = ["AWAY", "OPERATOR", "shards_of", "show", "show_settings"]

#: Owner in the token of a command that lists the jobs of all owners.
OPERATOR = "taskbridge"
AWAY = "the archive did not answer: jobs that servers have forgotten are missing"


def show(
    bridge: Bridge, owner: str | None, wanted: JSONObject, *, limit: int, as_json: bool
) -> None:
    """Print jobs, newest first.

    Args:
        bridge: bridge whose settings have the server's URL and the key of tokens.
        owner: owner of the jobs; None for all owners.
        wanted: fields of the request.
        limit: maximum number of jobs.
        as_json: whether to print a line of JSON for each.
    """
    jobs, away = _all(bridge, owner, wanted, limit)
    for job in jobs if as_json else ():
        echo_json(job)
    if not as_json and jobs:
        new_console().print(_table(jobs))
    if not as_json and not jobs:
        echo(f"{owner} has no jobs here" if owner and not wanted else "no job was found", err=True)
    if away:
        echo(AWAY, err=True)


def _all(
    bridge: Bridge, owner: str | None, wanted: JSONObject, limit: int
) -> tuple[list[SnapshotData], bool]:
    """Return jobs, ``limit`` at most, and whether the archive did not answer."""
    found: dict[str, SnapshotData] = {}
    away = False
    scope = "watch" if owner else "watch operate"
    for shard in shards_of(bridge, owner):
        token = bridge.token(owner=owner or OPERATOR, scope=scope, shard=shard)
        for answer in _pages(bridge, wanted, limit, token, shard):
            away = away or answer.get("archive_away", False)
            found.update({job["job"]: job for job in answer["jobs"] if job["job"] not in found})
    newest = sorted(found.values(), key=lambda job: job["queued_at"] or job["at"], reverse=True)
    return newest[:limit], away


def shards_of(bridge: Bridge, owner: str | None) -> list[int | None]:
    """Return the shards to ask for an owner's jobs, or for those of all; None for the only one."""
    if bridge.settings.shards == 1:
        return [None]
    return [bridge.shard(owner)] if owner else [*range(bridge.settings.shards)]


def _pages(
    bridge: Bridge, payload: JSONObject, limit: int, token: str, shard: int | None
) -> Iterator[JSONObject]:
    """Yield the answers of a shard's servers, until they have ``limit`` jobs."""
    while limit > 0:
        answer = request(bridge, "jobs", {**payload, "limit": limit}, token, shard)
        yield answer
        limit -= len(answer["jobs"])
        if not answer.get("next"):
            return
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
