"""``delivery_row``: a job's end as a delivery that is queued. Pure."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from bridge.protocol.json_types import SnapshotData
from socket_server.archive.finding.kept import kept
from socket_server.archive.schema import Row
from socket_server.messages.strict_json import encode

__all__ = ["delivery_row"]

#: Fields of a snapshot that are delivered, where it has them.
FIELDS = (
    "job",
    "name",
    "title",
    "owner",
    "state",
    "queued_at",
    "started_at",
    "ended_at",
    "total",
    "done",
    "result",
    "result_omitted",
    "error",
    "reason",
)
#: Latest time that ISO 8601 has a date for, in seconds since the epoch.
LATEST = 253_402_300_799.0


def delivery_row(
    snapshot: SnapshotData, webhook: str, channel: str, now: float, end: tuple[float, int]
) -> Row:
    """Return the row of a delivery that is due at once.

    Its id is that of the job's end, so that two archives, each of which finds that the job has
    ended, queue one delivery.

    Args:
        snapshot: snapshot of a job that has ended, of limited size.
        webhook: name of the webhook, as the tables have it.
        channel: channel of the job's events.
        now: seconds since the epoch.
        end: what distinguishes the end from others in the same state: the job's time, in seconds
            since the epoch, and the number of its events.
    """
    told = dict(snapshot)
    kind, ended = f"job.{snapshot['state']}", snapshot["ended_at"]
    at = datetime.fromtimestamp(min(now if ended is None else ended, LATEST), UTC)
    data = {name: told[name] for name in FIELDS if name in told}
    return {
        "id": _id_of(channel, webhook, snapshot, *end),
        "channel": channel,
        "webhook": webhook,
        "job": kept(snapshot["job"]),
        "type": kind,
        "at": now,
        "due": now,
        "attempts": 0,
        "failure": None,
        "delivered_at": None,
        "body": encode({"type": kind, "timestamp": at.isoformat(), "data": data}),
    }


def _id_of(channel: str, webhook: str, snapshot: SnapshotData, at: float, events: int) -> str:
    """Return the id of an end; a float of the database is equal to the one that was written."""
    parts = [channel, webhook, snapshot["job"], snapshot["state"], float(at), events]
    return f"msg_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"
