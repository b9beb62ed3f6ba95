"""Tries a broker once: whether it answers, and whether it refuses the login."""

from __future__ import annotations

from urllib.parse import urlsplit

from bridge.bus import refusals
from bridge.untyped import CeleryApp

__all__ = ["CONNECT_TIMEOUT", "check_broker", "refused"]

#: Seconds to wait for a broker before it counts as unavailable.
CONNECT_TIMEOUT = 2.0


def check_broker(app: CeleryApp) -> None:
    """Connect to the broker once.

    Args:
        app: the Celery application whose broker is tried.

    Raises:
        Exception: it does not answer, or refuses; of a class of the broker's library.
    """
    with app.connection_for_write(connect_timeout=CONNECT_TIMEOUT) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT)


def refused(app: CeleryApp, setting: str | None) -> str | None:
    """Return why an application's broker refuses it, and what to change; None if it does not.

    Args:
        app: the Celery application.
        setting: value of ``TASKBRIDGE_BROKER_URL``; None if it is not set.
    """
    try:
        check_broker(app)
    except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
        url = str(app.conf.broker_write_url)
        same = setting is not None and urlsplit(setting)[1:3] == urlsplit(url)[1:3]
        name = "TASKBRIDGE_BROKER_URL" if same else "the application's broker_url"
        return refusals.refusal(error, name)
    return None
