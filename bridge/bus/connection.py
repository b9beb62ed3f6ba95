"""kombu connections to brokers, for Celery too, with failover and TLS that verifies the broker."""

from __future__ import annotations

from collections.abc import Callable

import kombu
from celery.app import amqp
from kombu import connection

from bridge.bus.tls import TLSOptions, target
from bridge.settings import Settings

__all__ = ["AMQP", "Connection", "connect"]


class Connection(kombu.Connection):
    """A connection to any one of several brokers.

    It differs from kombu's in three ways. kombu counts attempts, whichever broker they go to, and
    allows two of them, so it would never try a third URL. kombu takes what a URL leaves out (port,
    virtual host) from the previous URL. And kombu writes the first host that it connects to into
    the TLS options, which all copies of the connection share, and so would expect the first host's
    name in the second host's certificate.
    """

    _ssl: TLSOptions | bool | None = None

    def _ensure_connection(
        self,
        errback: Callable[[Exception, float], object] | None = None,
        max_retries: int | None = None,
        *arguments: object,
        timeout: float | None = None,
        **options: object,
    ) -> object:
        """Connect; the limits hold for each broker, and not for all of them together.

        Args:
            errback: see ``kombu.Connection.ensure_connection``, also for the other arguments.
            max_retries: retries of each broker; default no limit.
            timeout: seconds for each broker; default no limit. With several brokers, each has
                time for one attempt at least.
        """
        if (count := len(self.alt)) > 1:
            max_retries = max_retries if max_retries is None else (max_retries + 1) * count - 1
            # An attempt takes up to `connect_timeout` for the connection, and again for AMQP's
            # handshake.
            timeout = timeout and max(timeout, 2 * (self.connect_timeout or 0)) * count
        return super()._ensure_connection(
            errback, max_retries, *arguments, timeout=timeout, **options
        )

    def switch(self, conn_str: str) -> None:
        """Use another URL from now on, without the port and virtual host of the previous one."""
        self.port, self.virtual_host = None, "/"
        super().switch(conn_str)

    @property
    def ssl(self) -> TLSOptions | bool | None:
        """TLS options for the current host; False for no TLS."""
        return self._ssl

    @ssl.setter
    def ssl(self, options: TLSOptions | bool | None) -> None:
        # kombu sets this at each change of the host, after the host.
        if isinstance(options, dict) and "server_hostname" in options:
            options = {**options, "server_hostname": self.hostname}
        self._ssl = options

    def Pool(self, limit: int | None = None, **options: object) -> Pool:  # noqa: N802 - kombu's name
        """Return a pool of connections like this one."""
        return Pool(self, limit, **options)


class PooledConnection(Connection, connection.PooledConnection):
    """A connection that belongs to a pool."""


class Pool(connection.ConnectionPool):
    """A pool of :class:`Connection`; kombu's pool creates kombu's own connections."""

    def new(self) -> PooledConnection:
        """Return a connection that connects when it is first used."""
        return PooledConnection(self, **self.connection.info())

    def close_resource(self, resource: Connection) -> None:
        """Drop a failed connection without AMQP's close, which a dead broker does not answer."""
        resource.collect()


class AMQP(amqp.AMQP):
    """``app.amqp`` of a Celery application that uses these connections."""

    Connection = Connection


def connect(settings: Settings, url: str, **options: object) -> Connection:
    """Return a connection that connects when it is first used.

    Args:
        settings: TLS files of the broker.
        url: URL of the broker, or several separated by semicolons.
        options: options of ``kombu.Connection``.
    """
    dialled = target(settings, url)
    return Connection(dialled.url, ssl=dialled.ssl or False, **options)
