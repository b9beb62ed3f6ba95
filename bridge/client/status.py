"""Reads a job's snapshot without watching it: from the server, else from the result backend."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import quote

from bridge import extras
from bridge.bus.sharding import shard_of
from bridge.errors import JobNotFound, ResultsUnavailable, ServerUnavailable, TaskbridgeError
from bridge.identifiers import check_identifier
from bridge.protocol.event import TERMINAL
from bridge.protocol.json_types import BarData, JSONObject, SnapshotData
from bridge.protocol.snapshot import Snapshot
from bridge.settings import Settings
from bridge.untyped import CeleryApp

if TYPE_CHECKING:
    from bridge.results.stored_result import StoredResult

__all__ = [
    "IN_CELERY",
    "Service",
    "from_result",
    "read_result",
    "shard_of_job",
    "state_of",
    "status",
    "stored_progress",
]

logger = logging.getLogger(__name__)

#: Seconds to wait for the server before the result backend is asked.
TIMEOUT = 3.0
NOT_FOUND = 404

#: Job states for the exceptions of failed tasks that have a state of their own.
ENDS = {"JobCancelled": "cancelled", "WorkerLostError": "lost"}
#: Job states by Celery's states; all others, such as a task's own, mean ``running``.
STATES = {
    "PENDING": "queued",
    "RECEIVED": "queued",
    "RETRY": "retrying",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "cancelled",
}
#: Celery's states by job states; ``queued`` is ``PENDING``.
IN_CELERY = {ours: celerys for celerys, ours in reversed(STATES.items())}


class Service(Protocol):
    """The part of :class:`bridge.Bridge` that this module needs."""

    @property
    def settings(self) -> Settings:
        """Settings, with the URL of the servers and the number of shards."""

    @property
    def app(self) -> CeleryApp:
        """The Celery application whose result backend is read."""

    def token(self, *, jobs: list[str], shard: int | None) -> str:
        """Return a token for a server."""
        ...


def status(bridge: Service, job: str) -> SnapshotData:
    """Return the job's snapshot.

    Raises:
        JobNotFound: neither the server nor the result backend knows it.
        ServerUnavailable: no server answers, and no result is stored.
        ResultsUnavailable: no server knows it, and the result backend does not answer.
    """
    try:
        return _from_server(bridge, job)
    except (OSError, ValueError) as error:
        # No server, or it does not hold the job: HTTPError is an OSError.
        if (found := from_result(bridge.app, job)) is not None:
            return found
        if getattr(error, "code", None) == NOT_FOUND:
            raise JobNotFound(_unknown(job)) from None
        raise ServerUnavailable(
            f"the server at {bridge.settings.server_url} does not tell about job {job}, and no "
            f"result is stored: {error}"
        ) from None


def state_of(bridge: Service, job: str) -> tuple[str, str | None]:
    """Return the job's state, and its owner or None if the owner is unknown.

    The state is ``queued`` if no server answers and no result is stored or can be read.

    Raises:
        JobNotFound: the server answers, and knows no such job.
    """
    try:
        snapshot = _from_server(bridge, job)
        return str(snapshot["state"]), snapshot.get("owner")
    except urllib.error.HTTPError as error:
        if error.code == NOT_FOUND:
            raise JobNotFound(_unknown(job)) from None
    except (OSError, ValueError):
        pass
    try:
        found = from_result(bridge.app, job)
    except ResultsUnavailable:
        found = None
    return str(found["state"]) if found else "queued", None


def shard_of_job(bridge: Service, job: str) -> int | None:
    """Return the shard whose servers have a job; None if there is only one shard.

    Servers are asked, first those of the shard that the id implies, as one that
    :meth:`Bridge.enqueue` has made does. It is also the answer if no server knows the job.

    Raises:
        JobNotFound: ``job`` is not a valid id.
    """
    check_identifier(job, "a job's id", JobNotFound)
    shards = bridge.settings.shards
    if shards == 1:
        return None
    for shard in _likely(job, shards):
        try:
            _ask(bridge, job, shard)
            return shard
        except (OSError, ValueError):
            continue
    return shard_of(job, shards)


def _likely(job: str, shards: int) -> list[int]:
    """Return all shards, first the one that the job's id implies."""
    first = shard_of(job, shards)
    return [first, *(other for other in range(shards) if other != first)]


def _unknown(job: str) -> str:
    return f"no job {job}: check the id, or whether its result has expired"


def _from_server(bridge: Service, job: str) -> SnapshotData:
    """Return the snapshot of a server that has the job's events, else one made from its result."""
    check_identifier(job, "a job's id", JobNotFound)
    found: SnapshotData | None = None
    missing: Exception | None = None
    for shard in _likely(job, bridge.settings.shards):
        try:
            answer = _ask(bridge, job, shard)
        except (OSError, ValueError) as error:
            missing = missing or error
            continue
        if answer.get("source") != "result":
            return answer
        found = found or answer
    if found is None:
        assert missing is not None
        raise missing
    return found


def _ask(bridge: Service, job: str, shard: int) -> SnapshotData:
    token = bridge.token(jobs=[job], shard=None if bridge.settings.shards == 1 else shard)
    request = urllib.request.Request(
        bridge.settings.url_of(shard, f"/api/jobs/{quote(job, safe='')}"),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            snapshot: SnapshotData = json.load(response)
            return snapshot
    except urllib.error.HTTPError as error:
        error.close()  # callers keep the exception for a while, which would keep the connection
        raise


def from_result(app: CeleryApp, job: str) -> SnapshotData | None:
    """Return a snapshot made from Celery's result backend; None if it knows nothing of the job.

    Raises:
        ResultsUnavailable: it does not answer within two seconds, or cannot be read.
    """
    found = read_result(app, job)
    if found is None or found.state == "PENDING":  # Celery's state of unknown tasks
        return None
    outcome = _outcome(found)
    bar = _progress(found)
    told = {
        "name": found.name,
        "at": found.ended_at or 0.0,
        "ended_at": found.ended_at,
        "total": 1,
        "done": int(outcome["state"] in TERMINAL),
        **outcome,
        **({"bars": [bar]} if bar else {}),
        "source": "result",
    }
    return cast("SnapshotData", {**Snapshot(job).encode(), **told})


def stored_progress(app: CeleryApp, task: str) -> BarData | None:
    """Return the progress that a running task has stored with ``update_state``; None without it.

    Raises:
        ResultsUnavailable: the result backend does not answer within two seconds, or cannot be
            read.
    """
    found = read_result(app, task)
    return None if found is None else _progress(found)


def _progress(found: StoredResult) -> BarData | None:
    from bridge.reporting import state_meta

    return state_meta.bar_of(found.result) if state_meta.is_progress(found.state) else None


def read_result(app: CeleryApp, task: str) -> StoredResult | None:
    """Return a task's result as Celery's result backend has stored it; None if it has none.

    Raises:
        ResultsUnavailable: it does not answer within two seconds, or cannot be read.
    """
    from bridge.results import stored_result
    from bridge.results.bounded_calls import SILENT, bounded_calls_for

    def read() -> StoredResult | None:
        return stored_result.read(app.backend, task)

    try:
        return bounded_calls_for(app).ask(read)
    except TaskbridgeError:
        raise
    except Exception as error:
        # Any error of the backend's library. Clients see ours: its text may name hosts and users.
        absent = extras.missing(*extras.of_urls(str(app.conf.result_backend)))
        logger.warning("taskbridge: the result backend cannot be read: %s", absent or error)
        raise ResultsUnavailable(absent or SILENT) from error


def _outcome(found: StoredResult) -> JSONObject:
    from bridge.instrumentation import outcomes

    state = STATES.get(found.state, "running")
    if state == "succeeded":
        return {"state": state, **outcomes.result(found.result)}
    error = outcomes.stored_error(found.result) if state == "failed" else None
    if error is None:
        return {"state": state}
    return {"state": ENDS.get(error["class"], state), "error": error}
