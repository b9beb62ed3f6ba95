"""Connections to brokers over kombu, Celery's included, whose TLS verifies the broker."""

from __future__ import annotations

from typing import Any

import kombu
from celery.app import amqp

from bridge.settings import Settings
from bridge.tls import target

__all__ = ["AMQP", "Connection", "connect"]


class Connection(kombu.Connection):
    """A connection that expects of each of its brokers a certificate for that one's own host.

    kombu writes the first host that it connects to into the options, which all copies of the
    connection share, and so would expect the first one's name of the second.
    """

    _ssl: Any = None

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
