"""``new_manager``: the manager for the broker that the settings name."""

from __future__ import annotations

from bridge.bus import embedded_transport
from bridge.settings import Settings
from socket_server.bus.jobs_manager import JobsManager
from socket_server.bus.kombu_manager import KombuJobsManager
from socket_server.bus.redis_manager import RedisJobsManager
from socket_server.observability.counters import Counters

__all__ = ["new_manager"]


def new_manager(settings: Settings, flow: Counters | None = None) -> JobsManager:
    """Return the manager for the events broker; it listens once it is initialized.

    Args:
        settings: URL and channel of the events broker.
        flow: counters of the server; default new ones.
    """
    embedded_transport.register()
    redis = settings.events.startswith(("redis:", "rediss:"))
    kind = RedisJobsManager if redis else KombuJobsManager
    manager: JobsManager = kind(settings)
    manager.flow = flow or Counters()
    return manager
