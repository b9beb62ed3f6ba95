"""python-socketio's client managers for ``/jobs``: they check what the bus delivers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Hashable

from socketio import packet

from bridge.protocol.event import NAMESPACE, RESERVED, room_of_job, room_of_owner
from bridge.protocol.json_types import JSONObject
from socket_server.bus.client_rooms import ClientRooms
from socket_server.bus.decoding import Decoded, fits, job_event
from socket_server.bus.duplicates import Duplicates
from socket_server.concurrency.state_lock import NoLock, StateLock
from socket_server.connection.direct_socket import DirectSockets
from socket_server.connection.shared_packet import Shared
from socket_server.journal.change import Change
from socket_server.observability.counters import Counters

__all__ = ["AWAY", "PROBE_NAMESPACE", "JobsManager", "identified"]

logger = logging.getLogger(__name__)

#: Namespace on which servers send probes to themselves. Servers that do not know it (of 0.1.0, or
#: stock python-socketio) have no clients there, and drop probes.
PROBE_NAMESPACE = "/taskbridge"
#: Names of the protocol's Socket.IO events that workers publish; only servers send the others.
RELAYED = frozenset({"job", "pushes_dropped"})
#: Names of events that only servers may send.
REFUSED = RESERVED - RELAYED
#: Beginning of a Socket.IO packet with an event of a job.
JOB = f'{packet.EVENT}{NAMESPACE},["job",'
AWAY = "taskbridge: the broker is away, trying again: %s"


class JobsManager(ClientRooms):
    """Filters messages of the bus for ``/jobs``; other namespaces work as in python-socketio.

    Without the filter, anyone who may publish on the channel could disconnect clients, move them
    between rooms and send anything to all of them.
    """

    #: Called with each valid event of the bus and its offset, which is None without a stream;
    #: ``live`` is False while the stream is replayed, ``late`` is True if earlier events may have
    #: been dropped from the stream.
    on_event: Callable[..., None] = staticmethod(lambda event, offset, *, live, late: None)
    #: Whether the manager is connected to the broker and reads messages.
    alive = False
    #: Whether all messages that the stream had at the start have been read.
    ready = False
    #: Whether the stream is being replayed, and earlier events may have been dropped from it.
    late = False
    #: Whether the stream was read from its first message on; True without a stream.
    whole = True
    #: Offset of the next message to be read; None before the first, and without a stream.
    written: int | None = None
    #: Number of messages that were refused since the start.
    refused = 0
    #: Called when messages of the bus were, or may have been, missed.
    on_break: Callable[[], None] = staticmethod(lambda: None)
    #: Counters of the server; ``delivered`` is counted here.
    flow: Counters
    #: The state lock, held while a message of the bus is handled.
    state_lock: StateLock = NoLock()
    #: Number of this server's own probes that came back over the bus.
    probes = 0

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        #: Recognizes messages that came before.
        self.duplicates = Duplicates()

    @property
    def replayed(self) -> float:
        """Fraction that was read of the messages published before the start, from 0 to 1."""
        return float(self.ready)

    def _break(self) -> None:
        with self.state_lock:
            self.on_break()

    def deliver(
        self,
        event: str,
        data: object,
        room: str | list[str],
        latest: Hashable | None = None,
        skip: object = None,
    ) -> None:
        """Send a Socket.IO event to this server's clients in ``room`` on ``/jobs``.

        Args:
            event: name of the event.
            data: JSON value, or a tuple of several arguments.
            room: one room or several; a client in several of them gets one copy.
            latest: key; the event replaces one with the same key in a client's send queue.
                Default None for no replacement.
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

    def deliver_job(self, change: Change, rooms: list[str], latest: Hashable | None = None) -> bool:
        """Send an event of a job; see ``deliver``. Return whether a client gets it."""
        clients = self._clients(rooms)
        if clients:  # without any, ``change.text`` may never have to be encoded
            self._send(Shared(f"{JOB}{change.text}]", latest), clients)
        return bool(clients)

    def _clients(self, rooms: list[str]) -> Collection[str]:
        """Return the Engine.IO ids of this server's clients in any of the rooms, each once."""
        here = self.rooms.get(NAMESPACE, {})
        # The dict inside each bidict, which python-socketio reads directly, too.
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
        """Whether a client of this server watches a job, or all jobs of its owner."""
        here = self.rooms.get(NAMESPACE, ())
        return room_of_job(job) in here or (owner is not None and room_of_owner(owner) in here)

    def _handle_emit(self, message: JSONObject) -> None:
        self.take(Decoded(message))

    def take(self, message: Decoded) -> None:
        """Handle an ``emit`` of another server or of a worker, unless it was handled before."""
        fields = message.fields
        with self.state_lock:
            if not self.duplicates.is_new(fields.get("id")):
                return
            namespace = fields.get("namespace")
            if namespace == PROBE_NAMESPACE:
                self.probes += fields.get("room") == self.host_id
            elif namespace != NAMESPACE:
                super()._handle_emit(fields)
            elif not self._accept(message):
                self.refused += 1
                logger.warning("taskbridge: refused a message on the bus that is not an event")

    def _accept(self, message: Decoded) -> bool:
        fields = message.fields
        room, event, data = fields.get("room"), fields.get("event"), fields.get("data")
        if not isinstance(room, str) or not room.startswith(("job:", "owner:")):
            return False
        if not isinstance(event, str) or event in REFUSED or fields.get("binary"):
            return False
        if not isinstance(data, list) or not (message.sound or fits(data)):
            return False
        if event == "job":
            return self._accept_job(room, data, message.offset)
        self.deliver(event, tuple(data), room, skip=fields.get("skip_sid"))
        return True

    def _accept_job(self, room: str, data: list[object], offset: int | None) -> bool:
        if (event := job_event(room, data)) is None:
            return False
        self.on_event(event, offset, live=self.ready, late=self.late)
        return True

    def _foreign(self, message: JSONObject) -> bool:
        """Whether a command is for another namespace; one for ``/jobs`` is counted as refused."""
        if message.get("namespace") == NAMESPACE:
            self.refused += 1
            return False
        return True

    def _handle_callback(self, message: JSONObject) -> None:
        if self._foreign(message):
            super()._handle_callback(message)

    def _handle_disconnect(self, message: JSONObject) -> None:
        # python-socketio calls this also to disconnect a client of this server itself.
        if message.get("host_id") == self.host_id or self._foreign(message):
            super()._handle_disconnect(message)

    def _handle_enter_room(self, message: JSONObject) -> None:
        if self._foreign(message):
            super()._handle_enter_room(message)

    def _handle_leave_room(self, message: JSONObject) -> None:
        if self._foreign(message):
            super()._handle_leave_room(message)

    def _handle_close_room(self, message: JSONObject) -> None:
        if message.get("host_id") == self.host_id or self._foreign(message):
            super()._handle_close_room(message)


def identified(data: JSONObject) -> JSONObject:
    """Return a message with an id, by which servers recognize a copy of it."""
    return {**data, "id": uuid.uuid4().hex} if data.get("method") == "emit" else data
