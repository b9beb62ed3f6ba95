"""Composition: settings in, a WSGI application out."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Any

import socketio
from flask import Flask

from bridge import stream
from bridge.client import Bridge
from bridge.events import NAMESPACE, Event, room_of_job, room_of_owner
from bridge.settings import Settings
from socket_server.http import new_health, new_http
from socket_server.journal import Journal
from socket_server.lookup import Lookup
from socket_server.manager import JobsManager, new_manager
from socket_server.namespace import JobsNamespace

__all__ = ["SocketServer", "new_server"]

logger = logging.getLogger(__name__)

#: Bytes of one message from a client; the protocol's requests are far smaller.
MAX_MESSAGE = 64 * 1024
#: Seconds between rounds of housekeeping: tokens that expired, jobs to forget.
HOUSEKEEPING = 1.0
#: Seconds over which clients spread their return when the server stops.
DRAIN_SPREAD = 2.0


@dataclass(frozen=True, slots=True)
class SocketServer:
    """The parts that an entry point serves.

    ``sio`` is an ordinary ``socketio.Server``: an application may register namespaces and handlers
    of its own on it before it is served.
    """

    sio: Any
    wsgi: Any
    health: Flask
    manager: JobsManager
    journal: Journal
    jobs: JobsNamespace

    def start(self) -> None:
        """Listen to the broker, from now on and not only once a client came."""
        self.sio.manager.initialize()
        self.sio.manager_initialized = True
        self.sio.start_background_task(self._keep_house)

    def drain(self) -> None:
        """Tell clients that the server stops, and when to come back, each at its own time."""
        for sid, _ in list(self.manager.get_participants(NAMESPACE, None)):
            after = {"after": round(random.uniform(0, DRAIN_SPREAD), 3)}
            self.sio.emit("draining", after, to=sid, namespace=NAMESPACE, ignore_queue=True)

    def _keep_house(self) -> None:
        while True:
            self.sio.sleep(HOUSEKEEPING)
            try:
                self.jobs.expire()
                self.journal.prune()
            except Exception:  # the server must outlive whatever one round met
                logger.exception("taskbridge: housekeeping failed")


def new_server(settings: Settings, *, async_mode: str = "eventlet") -> SocketServer:
    """Return a socket server that is not served yet.

    Args:
        settings: see :class:`bridge.settings.Settings`.
        async_mode: python-socketio's; the entry point uses eventlet.

    Raises:
        SettingsError: there is no secret.
    """
    assert settings.keys, "a server never starts without a secret"
    manager = new_manager(settings)
    # All servers read one stream with the same offsets, so a cursor is good on each of them.
    epoch = stream.name_of(settings) if stream.is_amqp(settings) else None
    journal = Journal(retention=settings.retention, epoch=epoch)
    manager.on_break = journal.restart
    sio = socketio.Server(
        async_mode=async_mode,
        client_manager=manager,
        async_handlers=False,
        max_http_buffer_size=MAX_MESSAGE,
        cors_allowed_origins=list(settings.origins) or None,
        transports=list(settings.transports),
    )
    bridge = Bridge(settings=settings)
    lookup = Lookup(bridge, journal, sio.sleep)
    jobs = JobsNamespace(bridge, journal, lookup, lambda: manager.ready)
    sio.register_namespace(jobs)
    manager.on_event = _deliver(manager, journal)
    http = new_http(bridge, journal, lookup, manager)
    wsgi = socketio.WSGIApp(sio, http)
    return SocketServer(sio, wsgi, new_health(manager), manager, journal, jobs)


def _deliver(manager: JobsManager, journal: Journal) -> Any:
    def deliver(event: Event) -> None:
        message = journal.fold(event, manager.place)
        if message is None:
            return
        owner = journal.owner(event.job)
        rooms = [room_of_job(event.job), *([room_of_owner(owner)] if owner else [])]
        # Who is in both rooms gets one copy.
        manager.deliver("job", message, rooms)

    return deliver
