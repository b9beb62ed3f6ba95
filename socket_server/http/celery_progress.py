"""A job's snapshot in the format of celery-progress's JavaScript, for pages that still use it.

The keys and rules are those of ``celery_progress.backend.Progress.get_info``, version 0.5.
"""

from __future__ import annotations

import math
import time

from bridge.client.status import IN_CELERY
from bridge.protocol.http_types import (
    CeleryProgress,
    CeleryProgressBar,
    CeleryProgressRetry,
)
from bridge.protocol.json_types import BarData, SnapshotData

__all__ = ["as_celery_progress"]


COMPLETED: CeleryProgressBar = {"pending": False, "current": 100, "total": 100, "percent": 100}


def as_celery_progress(snapshot: SnapshotData) -> CeleryProgress:
    """Return the JSON object that celery-progress's ``CeleryProgressBar`` reads.

    Args:
        snapshot: snapshot of the job, as the protocol defines it.
    """
    state = {**IN_CELERY, "lost": "FAILURE"}.get(snapshot["state"], "STARTED")
    if state == "SUCCESS":
        result = snapshot.get("result")
        return {"state": state, "complete": True, "success": True, "progress": COMPLETED,
                "result": result}  # fmt: skip
    if state in ("FAILURE", "REVOKED", "RETRY"):
        told: CeleryProgressRetry | str = _waits(snapshot) if state == "RETRY" else _why(snapshot)
        return {"state": state, "complete": True, "success": False, "progress": COMPLETED,
                "result": told}  # fmt: skip
    bar = next(iter(snapshot.get("bars") or []), None)
    return {
        "state": "PROGRESS" if bar else state,
        "complete": False,
        "success": None,
        "progress": _of_bar(bar) if bar else _unknown(state),
    }


def _of_bar(bar: BarData) -> CeleryProgressBar:
    done, total = bar.get("n") or 0, bar.get("total") or 0
    percent = round(max(0.0, min(100.0, 100 * done / total)), 2) if total else 0
    text = bar.get("desc") or ""
    return {
        "pending": False,
        "current": done,
        "total": total,
        "percent": percent,
        "description": text,
    }


def _unknown(state: str) -> CeleryProgressBar:
    return {"pending": state == "PENDING", "current": 0, "total": 100, "percent": 0}


def _why(snapshot: SnapshotData) -> str:
    error = snapshot.get("error")
    message = error.get("message") if error else None
    return message or snapshot.get("reason") or f"the job was {snapshot['state']}"


def _waits(snapshot: SnapshotData) -> CeleryProgressRetry:
    at = snapshot.get("retry_at")
    seconds = max(0, math.ceil(at - time.time())) if at else "Unknown"
    return {"next_retry_seconds": seconds, "message": _why(snapshot)[:50]}
