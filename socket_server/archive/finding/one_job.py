"""What the archive's database has of jobs by their ids, if a grant names them."""

from __future__ import annotations

import json
from typing import cast

from sqlalchemy import ColumnElement, Connection, Row, and_, false, or_, select

from bridge.protocol.json_types import JobState
from bridge.protocol.request_types import TaskNode
from bridge.tokens import Grant
from socket_server.archive.finding.kept import kept, unkept
from socket_server.archive.finding.wanted import ArchivedLog
from socket_server.archive.schema import CALLS, JOBS, TASKS
from socket_server.messages.strict_json import encode

__all__ = ["calls_of", "log_of", "marked", "snapshot_of", "tasks_of"]

#: Columns of a task in a tree.
NODE = tuple(
    TASKS.c[name]
    for name in ("task", "parent", "name", "state", "queued_at", "started_at", "ended_at")
)


def _named(jobs: list[str], grant: Grant) -> ColumnElement[bool]:
    """Return the condition that a row is of one of some jobs, and that a grant names that job.

    The database decides it: another owner's row is not read any further, so that the time of an
    answer does not depend on what is in it.
    """
    these = JOBS.c.job.in_(list(map(kept, jobs)))
    if grant.allows("operate"):
        return these
    single = JOBS.c.job.in_([kept(one) for one in jobs if one in grant.jobs])
    own = false() if grant.owner is None else JOBS.c.owner == kept(grant.owner)
    return and_(these, or_(single, own))


def snapshot_of(connection: Connection, job: str, grant: Grant) -> str | None:
    """Return the JSON of a job's snapshot; None if it is not found."""
    wanted = select(JOBS.c.snapshot, JOBS.c.missed).where(_named([job], grant))
    found = connection.execute(wanted).one_or_none()
    if found is None:
        return None
    return marked(found.snapshot) if found.missed else str(found.snapshot)


def marked(snapshot: str) -> str:
    """Return the JSON of a snapshot that is marked as incomplete."""
    return encode({**json.loads(snapshot), "incomplete": True})


def calls_of(
    connection: Connection, jobs: list[str], grant: Grant
) -> dict[str, tuple[str, str | None]]:
    """Return the JSON of the snapshot and the kept call of those of some jobs that are found."""
    both = JOBS.outerjoin(CALLS, JOBS.c.job == CALLS.c.job)
    wanted = select(JOBS.c.snapshot, CALLS.c.body).select_from(both).where(_named(jobs, grant))
    found = ((row.snapshot, row.body) for row in connection.execute(wanted))
    return {json.loads(snapshot)["job"]: (snapshot, body) for snapshot, body in found}


def log_of(connection: Connection, job: str, grant: Grant) -> ArchivedLog | None:
    """Return how much of a job's log there is; None if the job is not found."""
    # In one statement: the archive may write between two.
    columns = JOBS.c.parts, JOBS.c.missed, TASKS.c.body
    both = JOBS.outerjoin(TASKS, JOBS.c.job == TASKS.c.job)
    wanted = select(*columns).select_from(both).where(_named([job], grant))
    rows = connection.execute(wanted).all()
    if not rows:
        return None
    tasks = [json.loads(row.body) for row in rows if row.body is not None]
    orders = {one["task"]: (one["run"], one["seq"], one["tick"]) for one in tasks}
    return ArchivedLog(rows[0].parts, orders, rows[0].missed)


def tasks_of(
    connection: Connection, job: str, grant: Grant, after: str, most: int
) -> list[TaskNode] | None:
    """Return tasks of a job; None if the job is not found.

    Args:
        connection: open connection to the database.
        job: id of the job.
        grant: of the client.
        after: id of a task, as ``kept`` writes it, behind which they are; "" for the first ones.
        most: maximum number of tasks, in the order of their ids' code points.
    """
    if connection.execute(select(JOBS.c.job).where(_named([job], grant))).one_or_none() is None:
        return None
    id: ColumnElement[str] = TASKS.c.task
    if connection.dialect.name == "postgresql":
        id = id.collate("C")  # a database's own order may be a language's
    wanted = select(*NODE).where(TASKS.c.job == kept(job), id > after).order_by(id).limit(most)
    return [_node(row) for row in connection.execute(wanted)]


def _node(row: Row[tuple[object, ...]]) -> TaskNode:
    return {
        "task": unkept(row.task),
        "parent": None if row.parent is None else unkept(row.parent),
        "name": unkept(row.name),
        "state": cast("JobState", row.state),
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
    }
