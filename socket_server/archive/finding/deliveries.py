"""What the archive's database has of deliveries to webhooks, for operators."""

from __future__ import annotations

import time

from sqlalchemy import Connection, Row, Select, select

from bridge.protocol.request_types import WebhookDelivery
from socket_server.archive.finding.kept import kept, unkept
from socket_server.archive.schema import DELIVERIES

__all__ = ["RECENT", "deliveries_of", "failing_deliveries"]

#: Seconds for which a delivery that was given up is listed as failing: a week.
RECENT = 7 * 86_400.0

COLUMNS = tuple(
    DELIVERIES.c[name]
    for name in ("id", "job", "webhook", "type", "at", "attempts", "failure", "due", "delivered_at")
)


def deliveries_of(connection: Connection, job: str, most: int) -> list[WebhookDelivery]:
    """Return up to ``most`` deliveries of a job, the newest first."""
    wanted = select(*COLUMNS).where(DELIVERIES.c.job == kept(job))
    return _newest(connection, wanted, most)


def failing_deliveries(connection: Connection, most: int) -> list[WebhookDelivery]:
    """Return up to ``most`` deliveries of the last ``RECENT`` s that have failed, the newest first.

    They are attempted again, or were given up.
    """
    failing = DELIVERIES.c.delivered_at.is_(None), DELIVERIES.c.failure.is_not(None)
    wanted = select(*COLUMNS).where(DELIVERIES.c.at >= time.time() - RECENT, *failing)
    return _newest(connection, wanted, most)


def _newest(
    connection: Connection, wanted: Select[tuple[object, ...]], most: int
) -> list[WebhookDelivery]:
    wanted = wanted.order_by(DELIVERIES.c.at.desc(), DELIVERIES.c.id).limit(most)
    return [_delivery(row) for row in connection.execute(wanted)]


def _delivery(row: Row[tuple[object, ...]]) -> WebhookDelivery:
    return {
        "id": row.id,
        "job": unkept(row.job),
        "webhook": unkept(row.webhook),
        "type": row.type,
        "at": row.at,
        "attempts": row.attempts,
        "failure": row.failure,
        "due": row.due,
        "delivered_at": row.delivered_at,
    }
