"""Connections to brokers over kombu, Celery's included, whose TLS verifies the broker."""

from __future__ import annotations

from typing import Any

import kombu
from celery.app import amqp
from kombu import connection

from bridge.bus.tls import target
from bridge.settings import Settings

__all__ = ["AMQP", "Connection", "connect"]


class Connection(kombu.Connection):
    """A connection to any one of several brokers.

    It differs from kombu's in three ways. kombu counts attempts, whichever broker they go to, and
    allows two of them, so it would never try a third URL. kombu takes what a URL leaves out (port,
    virtual host) from the URL before it. And kombu writes the first host that it connects to into
    the options, which all copies of the connection share, and so would expect a certificate for
    the first host of the second.
    """

    _ssl: Any = None

    def _ensure_connection(
        self,
        errback: Any = None,
        max_retries: int | None = None,
        *arguments: Any,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Connect; the bounds are those of each broker, and not of all of them together.

        Args:
            errback: see ``kombu.Connection.ensure_connection``, also for the other arguments.
            max_retries: how often all brokers are tried again; default without a limit.
            timeout: seconds of each broker; default without a limit. Each has the time for one
                attempt at least.
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
        """Use another URL from now on, and nothing of the one before."""
        self.port, self.virtual_host = None, "/"
        super().switch(conn_str)

    @property
    def ssl(self) -> Any:
        """Options of TLS for the host at hand; False for none."""
        return self._ssl

    @ssl.setter
    def ssl(self, options: Any) -> None:
        # Set with each change of the host, after the host.
        if isinstance(options, dict) and "server_hostname" in options:
            options = {**options, "server_hostname": self.hostname}
        self._ssl = options

    def Pool(self, limit: int | None = None, **options: Any) -> Pool:  # noqa: N802 - kombu's name
        """Return a pool of connections like this one."""
        return Pool(self, limit, **options)


class PooledConnection(Connection, connection.PooledConnection):
    """A connection that belongs to a pool."""


class Pool(connection.ConnectionPool):
    """A pool of connections to any one of several brokers; kombu's has kombu's own connections."""

    def new(self) -> PooledConnection:
        """Return a connection that is made when it is used."""
        return PooledConnection(self, **self.connection.info())

    def close_resource(self, resource: Any) -> None:
        """Drop a connection that failed, without a goodbye that a dead broker does not answer."""
        resource.collect()


class AMQP(amqp.AMQP):
    """What a Celery application connects with."""

    Connection = Connection


def connect(settings: Settings, url: str, **options: Any) -> Connection:
    """Return a connection that is made when it is used.

    Args:
        settings: files for TLS.
        url: of the broker; several separated by semicolons.
        options: ``kombu.Connection``'s own.
    """
    dialled = target(settings, url)
    return Connection(dialled.url, ssl=dialled.ssl or False, **options)
