"""The time within which a broker redelivers the message of a worker that died.

The worker had not acknowledged the message.
"""

from __future__ import annotations

from bridge.bus import stream
from bridge.untyped import CeleryApp

__all__ = ["VISIBILITY", "broker_of", "redelivered_within"]

#: Seconds for which kombu hides a message on Redis that was not acknowledged: its default.
VISIBILITY = 3600
#: kombu in a worker looks for such messages every so many seconds, and skips all looks but one in
#: so many: its defaults.
LOOK_INTERVAL, LOOKS = 10, 10


def broker_of(app: CeleryApp) -> str:
    """Return the URL from which an application's workers take tasks."""
    return str(app.conf.broker_read_url or "amqp://")


def redelivered_within(app: CeleryApp) -> float | None:
    """Return the seconds within which the message of a dead worker is delivered again.

    Args:
        app: the Celery application, whose worker acknowledges the message late.

    Returns:
        0 for an AMQP broker, which notices that the connection is gone; None if it is not known
        whether the broker delivers it again.
    """
    url = broker_of(app)
    if stream.is_amqp(url):
        return 0.0
    if not url.startswith(("redis", "sentinel")):
        return None
    options = app.conf.broker_transport_options or {}
    looks = options.get("unacked_restore_throttle") or LOOKS
    look = (options.get("unacked_restore_interval") or LOOK_INTERVAL) * looks
    return float(options.get("visibility_timeout", VISIBILITY) + look)
