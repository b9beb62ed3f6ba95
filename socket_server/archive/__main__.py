"""``python -m socket_server.archive``: the archive of one shard."""

from __future__ import annotations

import logging
import signal
import sys
from threading import Event as Flag
from typing import TYPE_CHECKING

from bridge import extras
from bridge.bus.sharding import served_by
from bridge.errors import SettingsError, TaskbridgeError
from bridge.settings import Settings
from socket_server.observability import logs

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from socket_server.archive.figures import Figures
    from socket_server.archive.webhooks.deliverer import Deliverer

__all__ = ["main"]

logger = logging.getLogger("socket_server.archive")


def main() -> int:
    """Archive until SIGTERM or SIGINT.

    Returns:
        Exit status: 0 after a signal, 1 if a port is taken or another archive writes for the same
        channel, 2 if a setting is wrong.
    """
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        if not settings.archive_url:
            raise SettingsError("TASKBRIDGE_ARCHIVE_URL is not set: it names the database to write")
        extras.demand("archive", *extras.of_database(settings.archive_url))
        extras.demand(*extras.of_urls(settings.events))
        run(served_by(settings), settings.archive_url)
    except TaskbridgeError as error:
        sys.stderr.write(f"taskbridge: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    return 0


def run(settings: Settings, url: str) -> None:
    """Archive the events of a channel until SIGTERM or SIGINT.

    Args:
        settings: the settings, with the channel of the shard.
        url: SQLAlchemy URL of the database.

    Raises:
        TaskbridgeError: another archive writes for the same channel, or the port is taken.
    """
    from socket_server.archive.database import Conflict, Database
    from socket_server.archive.figures import Figures
    from socket_server.archive.health_server import HealthServer
    from socket_server.archive.migrating import migrate, new_engine
    from socket_server.archive.reader import Reader
    from socket_server.archive.retention import Attention, Retention
    from socket_server.archive.writer import ArchiveWriter, Stopped

    stopping, figures, engine = Flag(), Figures(), new_engine(url)
    deliverer = _new_deliverer(settings, engine, figures)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    if settings.archive_port:
        HealthServer(figures, settings.channel, settings.host, settings.archive_port)
    database = Database(engine, settings.channel)
    writer = ArchiveWriter(database, figures, stopping)
    # A server shows for as long what it has concluded itself.
    silence = max(settings.retention, 2 * settings.lost_after)
    limits = settings.archive_retention, settings.archive_bytes, silence
    attention = Attention(figures, 2 * settings.lost_after)
    retention = Retention(database, writer, figures, *limits, attention)
    reader = Reader(settings, writer, figures, stopping, retention.look)
    try:
        writer.again(lambda: migrate(engine))
        deliverer.start()
        logger.info("taskbridge: archiving %s into %s", settings.channel, engine.url)
        reader.run()
    except Stopped:
        logger.warning("taskbridge: stopped while the archive's database was away")
    except Conflict:
        raise TaskbridgeError(
            f"another archive writes the events of {settings.channel} into the same database: run "
            "one for each shard"
        ) from None
    finally:
        deliverer.stop()
        engine.dispose()


def _new_deliverer(settings: Settings, engine: Engine, figures: Figures) -> Deliverer:
    """Return what delivers to the webhooks that settings name, once it is started."""
    from socket_server.archive.webhooks.attempt import Answer, post
    from socket_server.archive.webhooks.deliverer import Deliverer
    from socket_server.archive.webhooks.deliveries import Deliveries
    from socket_server.archive.webhooks.endpoint import Endpoint, endpoints_of
    from socket_server.archive.webhooks.figures import WebhookFigures

    def attempt(endpoint: Endpoint, headers: dict[str, str], body: bytes) -> Answer:
        return post(endpoint.url, headers, body, settings.webhook_allow)

    endpoints = endpoints_of(settings)
    figures.webhooks = WebhookFigures(endpoints)
    deliveries = Deliveries(engine, settings.channel)
    retention = settings.archive_retention
    return Deliverer(deliveries, endpoints, figures.webhooks, attempt, retention)


if __name__ == "__main__":
    sys.exit(main())
