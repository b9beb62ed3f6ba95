"""python-socketio's client managers, made to listen from the start and to believe less."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import socketio

from bridge import transport
from bridge.errors import EventError
from bridge.events import MAX_EVENT_BYTES, NAMESPACE, Event, finite_json, room_of_job
from bridge.settings import Settings
from bridge.writer import CONNECTION_OPTIONS, REDIS_OPTIONS

__all__ = ["JobsManager", "new_manager"]

logger = logging.getLogger(__name__)

#: Seconds between AMQP heartbeats; a frozen broker or link is noticed after two or three.
HEARTBEAT = 5
#: Messages that the broker keeps for a server that is behind before it drops the oldest.
MAX_QUEUE = 100_000
#: Seconds between attempts to reach the broker: first and longest.
BACKOFF = (0.2, 5.0)
#: Event names on ``/jobs`` that only this server sends.
RESERVED = frozenset({"connect", "disconnect", "connect_error", "token_expiring", "draining"})


class JobsManager(socketio.PubSubManager):
    """Filters what comes over the bus for ``/jobs``; other namespaces work as in python-socketio.

    Who may publish on the channel could otherwise disconnect clients, move them between rooms and
    send anything to everyone.
    """

    #: Called with each valid event of the bus.
    on_event: Callable[[Event], None] = staticmethod(lambda event: None)
    #: Whether the broker is being listened to now.
    alive = False
    #: Messages that were refused since the start.
    refused = 0

    def deliver(self, event: str, data: Any, room: str | list[str]) -> None:
        """Send to the clients of this server in ``room`` on ``/jobs``."""
        socketio.Manager.emit(self, event, data, namespace=NAMESPACE, room=room)

    def _handle_emit(self, message: dict[str, Any]) -> None:
        if message.get("namespace") != NAMESPACE:
            super()._handle_emit(message)
        elif not self._accept(message):
            self.refused += 1
            logger.warning("taskbridge: refused a message on the bus that is not an event")

    def _accept(self, message: dict[str, Any]) -> bool:
        room, event, data = message.get("room"), message.get("event"), message.get("data")
        if not isinstance(room, str) or not room.startswith(("job:", "owner:")):
            return False
        if not isinstance(event, str) or event in RESERVED or message.get("binary"):
            return False
        if not isinstance(data, list) or not _fits(data):
            return False
        if event == "job":
            return self._accept_job(room, data)
        self.deliver(event, tuple(data), room)
        return True

    def _accept_job(self, room: str, data: list[Any]) -> bool:
        try:
            event = Event.decode(data[0] if len(data) == 1 else None)
        except EventError:
            return False
        if room != room_of_job(event.job):
            return False
        self.on_event(event)
        return True

    def _foreign(self, message: dict[str, Any]) -> bool:
        """Whether a command of the bus is none of ours; on ``/jobs`` they are all refused."""
        if message.get("namespace") == NAMESPACE:
            self.refused += 1
            return False
        return True

    def _handle_callback(self, message: dict[str, Any]) -> None:
        if self._foreign(message):
            super()._handle_callback(message)

    def _handle_disconnect(self, message: dict[str, Any]) -> None:
        # This server's own clients are disconnected by this path too, and those may.
        if message.get("host_id") == self.host_id or self._foreign(message):
            super()._handle_disconnect(message)

    def _handle_enter_room(self, message: dict[str, Any]) -> None:
        if self._foreign(message):
            super()._handle_enter_room(message)

    def _handle_leave_room(self, message: dict[str, Any]) -> None:
        if self._foreign(message):
            super()._handle_leave_room(message)

    def _handle_close_room(self, message: dict[str, Any]) -> None:
        if message.get("host_id") == self.host_id or self._foreign(message):
            super()._handle_close_room(message)


class KombuJobsManager(JobsManager, socketio.KombuManager):
    """Over RabbitMQ, the embedded broker, or anything else that kombu can fan out on."""

    def __init__(self, url: str, channel: str) -> None:
        # Heartbeats are of no use to a publisher that nobody ticks.
        super().__init__(url, channel=channel, logger=logger, connection_options=CONNECTION_OPTIONS)
        self._inbox: deque[Any] = deque()
        self._publishing = threading.Lock()

    def _publish(self, data: Any) -> None:
        # Two greenlets on one connection would read each other's confirmations.
        with self._publishing:
            super()._publish(data)

    def _producer_publish(self, connection: Any) -> Any:
        producer = connection.Producer(exchange=self._exchange())
        return connection.ensure(producer, producer.publish, max_retries=1, interval_start=0.2)

    def _queue(self) -> Any:
        # Exclusive: RabbitMQ 4.3 refuses transient queues that are not.
        arguments = {"x-max-length": MAX_QUEUE, "x-overflow": "drop-head"}
        name = f"{self.channel}.{self.host_id}"
        return kombu.Queue(
            name,
            self._exchange(),
            durable=False,
            exclusive=True,
            auto_delete=True,
            queue_arguments=arguments,
        )

    def _listen(self) -> Iterator[Any]:
        failures = 0
        while True:
            try:
                for body in self._consume():
                    failures = 0
                    yield body
            except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
                if self.alive or not failures:
                    logger.warning("taskbridge: the broker is away, trying again: %s", error)
                self.alive = False
                time.sleep(_delay(failures))
                failures += 1

    def _consume(self) -> Iterator[Any]:
        """Yield message bodies until the connection fails."""
        self._inbox.clear()
        with kombu.Connection(self.url, heartbeat=HEARTBEAT, connect_timeout=2) as connection:
            connection.connect()
            consumer = kombu.Consumer(
                connection.default_channel,
                queues=[self._queue()],
                on_message=lambda message: self._inbox.append(message.body),
                no_ack=True,
            )
            with consumer:
                self.alive = True
                while True:
                    self._drain(connection)
                    while self._inbox:
                        yield self._inbox.popleft()
                        # One message at a time: a burst must not starve other greenlets.
                        time.sleep(0)

    def _drain(self, connection: Any) -> None:
        try:
            connection.drain_events(timeout=1)
        except TimeoutError:
            pass
        except socket.timeout:  # noqa: UP041 - eventlet raises a class of its own
            pass
        connection.heartbeat_check()


class RedisJobsManager(JobsManager, socketio.RedisManager):
    """Over Redis, on the channel of python-socketio's own ``RedisManager``."""

    def __init__(self, url: str, channel: str) -> None:
        super().__init__(url, channel=channel, logger=logger)
        self._publishing = threading.Lock()
        self.publisher = socketio.RedisManager(
            url, channel=channel, write_only=True, logger=logger, redis_options=REDIS_OPTIONS
        )

    @property
    def alive(self) -> bool:  # type: ignore[override]
        """Whether Redis is being listened to now."""
        return bool(self.connected and self.pubsub is not None and self.pubsub.subscribed)

    def _publish(self, data: Any) -> None:
        with self._publishing:
            self.publisher._publish(data)


def _fits(data: Any) -> bool:
    """Whether it is JSON that every client can read, and not too much of it."""
    try:
        return len(finite_json(data)) <= MAX_EVENT_BYTES
    except (TypeError, ValueError, RecursionError):
        return False


def _delay(failures: int) -> float:
    first, longest = BACKOFF
    return min(longest, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


def new_manager(settings: Settings) -> JobsManager:
    """Return the manager for the settings' broker; it listens once it is initialized."""
    transport.register()
    redis = settings.broker.startswith(("redis:", "rediss:"))
    kind = RedisJobsManager if redis else KombuJobsManager
    manager: JobsManager = kind(settings.broker, settings.channel)
    return manager
