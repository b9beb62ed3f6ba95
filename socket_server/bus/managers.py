"""python-socketio's client managers, made to listen from the start and to believe less."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any

import socketio
from socketio import packet

from bridge.bus import embedded_transport, stream, tls
from bridge.bus.connection import connect
from bridge.bus.write_only_manager import CONNECTION_OPTIONS, REDIS_OPTIONS
from bridge.errors import EventError
from bridge.protocol.event import (
    MAX_EVENT_BYTES,
    NAMESPACE,
    RESERVED,
    Event,
    finite_json,
    room_of_job,
    room_of_owner,
)
from bridge.protocol.nesting import MAX_MESSAGE_DEPTH, is_deep, may_be_deep
from bridge.settings import Settings
from socket_server.bus.duplicates import Duplicates
from socket_server.bus.sources import BusMessage, Queue, Stream
from socket_server.concurrency.state_lock import NoLock, StateLock
from socket_server.connection.bounded_websocket import Shared
from socket_server.connection.direct_socket import DirectSockets
from socket_server.journal.change import Change
from socket_server.messages.strict_json import STRICT
from socket_server.observability.counters import Counters

__all__ = ["PROBE_NAMESPACE", "JobsManager", "new_manager"]

logger = logging.getLogger(__name__)

#: Seconds between AMQP heartbeats; a frozen broker or link is noticed after two or three.
HEARTBEAT = 5
#: Largest message of the bus that is looked at, in bytes; an event takes a good half of it when
#: every letter of it is escaped.
MAX_MESSAGE = 2 * MAX_EVENT_BYTES
#: Seconds for which messages are handled before other greenlets have their turn: as a rule, and
#: while those of the past are read at the start.
TURN, REPLAYING_TURN = 0.002, 0.02
#: Seconds between attempts to reach the broker: first and longest.
BACKOFF = (0.2, 5.0)
#: Namespace on which servers send probes to themselves. Servers that do not know it, of 0.1.0 or
#: python-socketio's own, have no clients there, and send a probe to nobody.
PROBE_NAMESPACE = "/taskbridge"
#: Names of the protocol's events that workers publish; servers send the others.
RELAYED = frozenset({"job", "pushes_dropped"})
AWAY = "taskbridge: the broker is away, trying again: %s"


class Decoded(dict[str, Any]):
    """The JSON object of a message of the bus.

    Args:
        message: the object.
        offset: of the message in the stream; None if the bus is none.
        sound: whether it is known to be small, and free of NaN and Infinity.
    """

    __slots__ = ("offset", "sound")

    def __init__(
        self, message: dict[str, Any], offset: int | None = None, *, sound: bool = False
    ) -> None:
        super().__init__(message)
        self.offset, self.sound = offset, sound


class JobsManager(socketio.PubSubManager):
    """Filters what comes over the bus for ``/jobs``; other namespaces work as in python-socketio.

    Who may publish on the channel could otherwise disconnect clients, move them between rooms and
    send anything to everyone.
    """

    #: Called with each valid event of the bus and its offset in the stream, which is None if there
    #: is no stream; ``live`` is False while the stream is replayed, ``late`` is True if events
    #: before it may have been dropped from the stream.
    on_event: Callable[..., None] = staticmethod(lambda event, offset, *, live, late: None)
    #: Whether the broker is being listened to now.
    alive = False
    #: Whether all that was there at the start has been read.
    ready = False
    #: Whether events of the past are read, before which others may have been forgotten.
    late = False
    #: Whether all that was ever published was read, as far as that can be known.
    whole = True
    #: Offset of the message to be read next, where the bus is a stream; else None.
    written: int | None = None
    #: Messages that were refused since the start.
    refused = 0
    #: Called when messages of the bus were missed, or may have been.
    on_break: Callable[[], None] = staticmethod(lambda: None)
    #: What went through.
    flow: Counters
    #: Whose turn it is.
    state_lock: StateLock = NoLock()
    #: Probes of this server that came back.
    probes = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: Which messages have come before.
        self.duplicates = Duplicates()

    @property
    def replayed(self) -> float:
        """The part that was read of what had been published before the start, from 0 to 1."""
        return float(self.ready)

    def _break(self) -> None:
        with self.state_lock:
            self.on_break()

    def deliver(
        self, event: str, data: Any, room: str | list[str], latest: Any = None, skip: Any = None
    ) -> None:
        """Send to the clients of this server in ``room`` on ``/jobs``.

        Args:
            event: its name.
            data: a JSON object, or a tuple of what becomes several arguments.
            room: one or several; who is in more than one of them gets one copy.
            latest: with which this replaces what still waits for a client that is behind.
            skip: id, or list of ids, of connections to ``/jobs`` that do not get it.
        """
        clients = self._clients([room] if isinstance(room, str) else room)
        if skip:
            sids = [one for one in (skip if isinstance(skip, list) else [skip]) if type(one) is str]
            left_out = {self.eio_sid_from_sid(sid, NAMESPACE) for sid in sids}
            clients = [one for one in clients if one not in left_out]
        if clients:
            arguments = list(data) if isinstance(data, tuple) else [data]
            encoded = self.server.packet_class(
                packet.EVENT, namespace=NAMESPACE, data=[event, *arguments], binary=False
            ).encode()
            self._send(Shared(encoded, latest), clients)

    def deliver_job(self, change: Change, rooms: list[str], latest: Any = None) -> bool:
        """Send an event of a job; see ``deliver``. Return whether anybody gets it."""
        clients = self._clients(rooms)
        if clients:  # nobody is asked to encode what nobody gets
            encoded = f'{packet.EVENT}{NAMESPACE},["job",{change.text}]'
            self._send(Shared(encoded, latest), clients)
        return bool(clients)

    def _clients(self, rooms: list[str]) -> Collection[str]:
        """Return the Engine.IO ids of this server's clients in any of the rooms, each once."""
        here = self.rooms.get(NAMESPACE, {})
        # Those inside of bidict, as python-socketio itself takes them.
        found = [here[room]._fwdm for room in rooms if room in here]
        if len(found) == 1:
            return found[0].values()  # type: ignore[no-any-return]
        return {client: None for room in found for client in room.values()}

    def _send(self, shared: Shared, clients: Collection[str]) -> None:
        sockets = self.server.eio.sockets
        self.flow.delivered += len(clients)
        if not isinstance(sockets, DirectSockets):
            for eio_sid in list(clients):
                self.server._send_eio_packet(eio_sid, shared)
            return
        for eio_sid in clients:
            client = sockets.get(eio_sid)
            if client is not None and not client.closed:
                client.offer(shared)

    def is_watched(self, job: str, owner: str | None) -> bool:
        """Whether a client of this server watches a job, or all of its owner's."""
        here = self.rooms.get(NAMESPACE, ())
        return room_of_job(job) in here or (owner is not None and room_of_owner(owner) in here)

    def _handle_emit(self, message: dict[str, Any]) -> None:
        with self.state_lock:
            if not self.duplicates.is_new(message.get("id")):
                return
            namespace = message.get("namespace")
            if namespace == PROBE_NAMESPACE:
                self.probes += message.get("room") == self.host_id
            elif namespace != NAMESPACE:
                super()._handle_emit(message)
            elif not self._accept(message if isinstance(message, Decoded) else Decoded(message)):
                self.refused += 1
                logger.warning("taskbridge: refused a message on the bus that is not an event")

    def _accept(self, message: Decoded) -> bool:
        room, event, data = message.get("room"), message.get("event"), message.get("data")
        if not isinstance(room, str) or not room.startswith(("job:", "owner:")):
            return False
        if not isinstance(event, str) or event in RESERVED - RELAYED or message.get("binary"):
            return False
        if not isinstance(data, list) or not (message.sound or _fits(data)):
            return False
        if event == "job":
            return self._accept_job(room, data, message.offset)
        self.deliver(event, tuple(data), room, skip=message.get("skip_sid"))
        return True

    def _accept_job(self, room: str, data: list[Any], offset: int | None) -> bool:
        try:
            event = Event.decode(data[0] if len(data) == 1 else None)
        except EventError:
            return False
        if room != room_of_job(event.job) or event.verdict:
            return False  # what a server makes of a job is for its own clients
        self.on_event(event, offset, live=self.ready, late=self.late)
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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Heartbeats are of no use to a publisher that nobody ticks.
        super().__init__(
            settings.events,
            channel=settings.channel,
            logger=logger,
            connection_options=CONNECTION_OPTIONS,
        )
        self._source: Queue | Stream | None = None
        self._publishing = threading.Lock()

    def _connection(self) -> Any:
        return connect(self._settings, self.url, **self.connection_options)

    def _publish(self, data: Any) -> None:
        # Two greenlets on one connection would read each other's confirmations.
        with self._publishing:
            super()._publish(_identified(data))

    def _producer_publish(self, connection: Any) -> Any:
        producer = connection.Producer(exchange=self._exchange())
        return connection.ensure(producer, producer.publish, max_retries=1, interval_start=0.2)

    def _listen(self) -> Iterator[dict[str, Any]]:
        failures = 0
        while True:
            try:
                for message in self._consume():
                    failures = 0
                    yield message
            except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
                if self.alive or not failures:
                    logger.warning(AWAY, tls.explain(error))
                self.alive = False
                time.sleep(_delay(failures))
                failures += 1

    def _consume(self) -> Iterator[dict[str, Any]]:
        """Yield messages until the connection fails."""
        options = {"heartbeat": HEARTBEAT, "connect_timeout": 2}
        with connect(self._settings, self.url, **options) as connection:
            connection.connect()
            source = self._new_source(connection)
            begun = time.monotonic()
            for message in source.read(connection):
                self.alive = True
                self._note(source)
                # Other greenlets have their turn before each look at the connection, which does
                # not wait if something is there, and in the midst of much that was. As long as
                # clients wait for what is replayed, there is next to nobody to have one.
                if time.monotonic() - begun > (TURN if self.ready else REPLAYING_TURN):
                    time.sleep(0)
                    begun = time.monotonic()
                if message is None:
                    continue
                if decoded := self._decode(message):
                    yield decoded

    @property
    def replayed(self) -> float:
        """See ``JobsManager``."""
        source = self._source
        if self.ready or not isinstance(source, Stream) or source.first is None:
            return float(self.ready)
        todo = source.tail + 1 - source.first
        return min(1.0, ((source.next or 0) - source.first) / todo) if todo > 0 else 1.0

    @property
    def late(self) -> bool:  # type: ignore[override]
        """See ``JobsManager``."""
        source = self._source
        return not self.ready and isinstance(source, Stream) and bool(source.first)

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """See ``JobsManager``."""
        source = self._source
        if not isinstance(source, Stream):
            return True
        return source.first == 0 or (source.first is None and source.tail < 0)

    @property
    def written(self) -> int | None:  # type: ignore[override]
        """See ``JobsManager``."""
        return self._source.next if isinstance(self._source, Stream) else None

    def _new_source(self, connection: Any) -> Queue | Stream:
        before = self._source
        if self._has_stream(connection):
            self._source = before if isinstance(before, Stream) else Stream(self._settings)
        else:
            self._source = Queue(f"{self.channel}.{self.host_id}", self._exchange())
        if before is not None and (isinstance(before, Queue) or before is not self._source):
            self._break()  # what came in between went by
        return self._source

    def _has_stream(self, connection: Any) -> bool:
        if not stream.is_amqp(self._settings.events):
            return False
        there = stream.declare(connection, self._exchange(), self._settings)
        if not there and self._source is None:
            logger.warning(
                "taskbridge: this broker keeps no stream; what is published while no server "
                "listens is missed"
            )
        return there

    def _note(self, source: Queue | Stream) -> None:
        """Take over what the source knows about where it is."""
        if isinstance(source, Queue):
            self.ready = True
        else:
            if source.broken:
                source.broken = False
                self._break()
            self.ready = self.ready or source.idle or (source.next or 0) > source.tail

    def _decode(self, message: BusMessage) -> Decoded | None:
        """Return a message's JSON object; None, and counted, if it has none."""
        body: Any = message.body
        try:
            if len(body) <= MAX_MESSAGE:
                decoded = STRICT.decode(body if isinstance(body, str) else body.decode())
                deep = may_be_deep(body, MAX_MESSAGE_DEPTH) and is_deep(decoded, MAX_MESSAGE_DEPTH)
                if isinstance(decoded, dict) and not deep:
                    return Decoded(decoded, message.offset, sound=len(body) <= MAX_EVENT_BYTES)
        except (TypeError, ValueError, RecursionError):
            pass
        self.refused += 1
        return None


class RedisJobsManager(JobsManager, socketio.RedisManager):
    """Over Redis, on the channel of python-socketio's own ``RedisManager``."""

    def __init__(self, settings: Settings) -> None:
        url, options = tls.target(settings, settings.events)
        channel, options = settings.channel, options or {}
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
        """Whether Redis is being listened to now."""
        return bool(self.connected and self.pubsub is not None and self.pubsub.subscribed)

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """Whether Redis is being listened to: nothing older can be had."""
        return self.alive

    def _redis_connect(self) -> None:
        super()._redis_connect()
        try:
            self.redis.ping()  # what is made here connects only when it is used
        except Exception as error:
            logger.warning(AWAY, tls.explain(error))
            raise
        if self._was_connected:
            self._break()  # what was published in between went by
        self._was_connected = True

    def _publish(self, data: Any) -> None:
        with self._publishing:
            self.publisher._publish(_identified(data))


def _identified(data: Any) -> Any:
    """Return a message with an id, by which servers know a copy of it."""
    return {**data, "id": uuid.uuid4().hex} if data.get("method") == "emit" else data


def _fits(data: Any) -> bool:
    """Whether it is JSON that every client can read, and not too much of it."""
    try:
        return len(finite_json(data)) <= MAX_EVENT_BYTES
    except (TypeError, ValueError, RecursionError):
        return False


def _delay(failures: int) -> float:
    first, longest = BACKOFF
    return min(longest, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


def new_manager(settings: Settings, flow: Counters | None = None) -> JobsManager:
    """Return the manager for the settings' broker; it listens once it is initialized.

    Args:
        settings: which broker.
        flow: where is counted what goes through; default one that nobody reads.
    """
    embedded_transport.register()
    redis = settings.events.startswith(("redis:", "rediss:"))
    kind = RedisJobsManager if redis else KombuJobsManager
    manager: JobsManager = kind(settings)
    manager.flow = flow or Counters()
    return manager
