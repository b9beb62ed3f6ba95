"""Says at a worker's start where its events go, and warns if no server has been there."""

from __future__ import annotations

import logging
import threading

from amqp.exceptions import NotFound

from bridge import extras
from bridge.bus import stream, tls
from bridge.bus.sharding import channel_of
from bridge.settings import Settings, broker_url

__all__ = ["announce", "is_heard"]

logger = logging.getLogger(__name__)


def announce(settings: Settings, problem: str = "") -> None:
    """Log the broker of events, and then, from a thread, a warning if no server listens there.

    Args:
        settings: broker, channel and number of shards.
        problem: why the application's own broker is not used; default empty.
    """
    url = broker_url.shown(settings.events)
    logger.info("taskbridge: events go to %s, channel %s", url, settings.channel)
    if absent := extras.missing(*extras.of_urls(settings.events)):
        problem = f"no event can be sent: {absent}"
    if problem:
        logger.warning("taskbridge: %s", problem)
    name = "taskbridge-audience"
    threading.Thread(target=_warn, args=(settings, url), name=name, daemon=True).start()


def _warn(settings: Settings, url: str) -> None:
    try:
        channels = [channel_of(settings, shard) for shard in range(settings.shards)]
        deaf = [one for one in channels if is_heard(settings, one) is False]
    except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
        # The emitter warns of a broker that is away, with the first event that it cannot send.
        logger.debug("taskbridge: cannot tell whether a server listens at %s: %s", url, error)
        return
    if deaf:
        logger.warning(
            "taskbridge: no server listens to channel %s at %s, so the progress of jobs is seen by "
            "no client: start a server with TASKBRIDGE_BROKER_URL set to that broker",
            ", ".join(deaf),
            url,
        )


def is_heard(settings: Settings, channel: str) -> bool | None:
    """Whether a server listens to a channel; None if the broker cannot say.

    On RabbitMQ, whether the exchange exists, which the first server or worker makes: RabbitMQ does
    not count the readers of a stream.

    Raises:
        Exception: whatever the broker's library raises.
    """
    if settings.events.startswith(("redis:", "rediss:")):
        return _has_subscriber(settings, channel)
    if stream.is_amqp(settings.events) or settings.events.startswith("embedded:"):
        return _has_exchange(settings, channel)
    return None


def _has_subscriber(settings: Settings, channel: str) -> bool:
    import redis

    from bridge.bus.write_only_manager import REDIS_OPTIONS

    url, options = tls.target(settings, settings.events)
    with redis.Redis.from_url(url, **{**REDIS_OPTIONS, **(options or {})}) as client:
        return any(count > 0 for _, count in client.pubsub_numsub(channel))


def _has_exchange(settings: Settings, name: str) -> bool:
    from bridge.bus.connection import connect
    from bridge.bus.write_only_manager import CONNECTION_OPTIONS

    with connect(settings, settings.events, **CONNECTION_OPTIONS) as connection:
        channel = connection.channel()
        if hasattr(channel, "get_table"):  # of the embedded broker: the queues that are bound
            return bool(channel.get_table(name))
        try:
            channel.exchange_declare(name, "fanout", passive=True)
        except NotFound:
            return False
        return True
