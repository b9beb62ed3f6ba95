"""The mark in the result backend that a job was cancelled, for workers that are not listening.

In a database or a key-value store it is stored without a read, unlike ``store_result``, which
decodes what is there. In a database it is one row that is inserted and never changed: servers and
services need no right to change results.
"""

from __future__ import annotations

import contextlib

from celery import states

from bridge.results import stored_result
from bridge.untyped import ResultBackend

__all__ = ["PREFIX", "is_stored", "store"]

#: Prefix of task ids: a mark is stored as the result of a task whose id is this and the job's id.
PREFIX = "taskbridge-cancelled-"


def store(backend: ResultBackend, job: str) -> None:
    """Store the mark of a job; it is kept as long as results are.

    Args:
        backend: result backend of a Celery application; nothing is stored in one that other
            processes cannot read.
        job: id of the job.

    Raises:
        Exception: whatever the backend's library raises if it is away, or refuses the write.
    """
    if not _remembers(backend):
        return
    if stored_result.is_database(backend):
        _insert(backend, f"{PREFIX}{job}")
    elif hasattr(backend, "get_key_for_task"):
        row = {"status": states.SUCCESS, "result": None, "traceback": None, "children": []}
        row |= {"task_id": f"{PREFIX}{job}", "date_done": backend.app.now().isoformat()}
        backend.set(backend.get_key_for_task(f"{PREFIX}{job}"), backend.encode(row))
    else:
        backend.store_result(f"{PREFIX}{job}", None, states.SUCCESS)


def is_stored(backend: ResultBackend, job: str) -> bool:
    """Whether the mark of a job is stored.

    Raises:
        Exception: whatever the backend's library raises if it is away.
    """
    if not _remembers(backend):
        return False
    if stored_result.can_read(backend):
        found = stored_result.read(backend, f"{PREFIX}{job}")
        return found is not None and found.state == states.SUCCESS
    return bool(backend.get_state(f"{PREFIX}{job}") == states.SUCCESS)


def _remembers(backend: ResultBackend) -> bool:
    """Whether other processes can read what is stored; ``rpc://`` delivers to one process."""
    return hasattr(backend, "get_state") and backend.as_uri() not in ("rpc://", "disabled://")


def _insert(backend: ResultBackend, task: str) -> None:
    import sqlalchemy as sa

    sessions, table = backend.session_manager, backend.task_cls.__table__
    engine = sessions.get_engine(backend.url, **backend.engine_options)
    sessions.prepare_models(engine)  # creates the tables, if no worker has
    # Without RETURNING, which requires more rights.
    row = {"task_id": task, "status": states.SUCCESS, "date_done": backend.app.now()}
    # The row exists already if the job was cancelled twice.
    with contextlib.suppress(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(table).inline().values(row))
