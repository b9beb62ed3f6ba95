"""``RedisJobsManager``: the manager for Redis."""

from __future__ import annotations

import logging
import threading

import socketio

from bridge.bus import refusals, tls
from bridge.bus.write_only_manager import REDIS_OPTIONS
from bridge.protocol.json_types import JSONObject
from bridge.settings import Settings
from socket_server.bus.jobs_manager import AWAY, JobsManager, identified

__all__ = ["RedisJobsManager"]

logger = logging.getLogger(__name__)


class RedisJobsManager(JobsManager, socketio.RedisManager):
    """Manager for Redis, on the channel of python-socketio's own ``RedisManager``."""

    def __init__(self, settings: Settings) -> None:
        url, options = tls.target(settings, settings.events)
        channel, options = settings.channel, options or {}
        self._settings = settings
        super().__init__(url, channel=channel, logger=logger, redis_options=options)
        self._publishing = threading.Lock()
        self._was_connected = False
        self.publisher = socketio.RedisManager(
            url,
            channel=channel,
            write_only=True,
            logger=logger,
            redis_options={**REDIS_OPTIONS, **options},
        )

    @property
    def alive(self) -> bool:  # type: ignore[override]
        """Whether the channel is subscribed to."""
        return bool(self.connected and self.pubsub is not None and self.pubsub.subscribed)

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """The same as ``alive``: Redis keeps no messages that could be replayed."""
        return self.alive

    def _redis_connect(self) -> None:
        super()._redis_connect()
        try:
            self.redis.ping()  # redis-py connects at the first command
        except Exception as error:
            logger.warning(AWAY, refusals.explain_events(error, self._settings))
            raise
        if self._was_connected:
            self._break()  # messages published in between were missed
        self._was_connected = True

    def _publish(self, data: JSONObject) -> None:
        with self._publishing:
            self.publisher._publish(identified(data))
