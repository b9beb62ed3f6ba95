"""Engine.IO sockets without greenlets of their own.

python-engineio runs three greenlets for each client, at 16 KB and more each: one reads, one waits
for packets to write, and one waits for the time of the next ping.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable

from engineio import exceptions, packet, socket

from bridge.untyped import WebSocket
from socket_server.connection.nonblocking_websocket import NonBlockingWebSocket
from socket_server.connection.send_queue import HANDED_OUT, Frame
from socket_server.connection.shared_packet import framed
from socket_server.messages.answer import Answer

__all__ = ["DirectSocket", "DirectSockets"]

logger = logging.getLogger(__name__)

#: Bytes that are written at once, and held while the client takes only a part of them. Events in
#: the send queue behind them can still be replaced by newer ones.
PIECE = 16 * 1024
#: Writes to one client before other clients are served.
WRITES = 4


class DirectSockets(dict[str, "DirectSocket"]):
    """An Engine.IO server's sockets by session id; a socket becomes a DirectSocket when added."""

    def __setitem__(self, sid: str, client: socket.Socket) -> None:
        client.__class__ = DirectSocket
        client.server.writer.start()
        super().__setitem__(sid, client)


class DirectSocket(socket.Socket):
    """An Engine.IO socket that, once it is a WebSocket, has no greenlet that reads or writes.

    Packets wait in its send queue until the server's writer flushes it, when the sending greenlet
    yields, or until ``PIECE`` bytes wait. Only while the client does not take all bytes at once
    does a greenlet wait for it.
    """

    #: Whether packets are written directly, as they are once the client's WebSocket is set up.
    direct = False
    #: Whether a flush by the writer is due, and whether a greenlet waits for the client to read.
    marked = blocked = False
    last_ping: float | None
    #: Whether the connection is to be closed after the bytes taken from the queue.
    _ends = False
    _line: NonBlockingWebSocket | None = None
    _websocket: WebSocket = None

    def _websocket_handler(self, websocket: WebSocket) -> Iterable[bytes]:
        server = self.server
        line = NonBlockingWebSocket.of(websocket, server.writer.hub, server.start_background_task)
        if line is None:
            answer: Iterable[bytes] = super()._websocket_handler(websocket)
            return answer
        websocket.socket.settimeout(server.ping_interval + server.ping_timeout)
        if not self.connected or self._is_upgraded(websocket):
            self._detach(websocket, line)
        return []

    def _is_upgraded(self, websocket: WebSocket) -> bool:
        """Whether a client that polls moves to a WebSocket, as Engine.IO's protocol says."""
        self.upgrading = True
        try:
            probe = packet.Packet(encoded_packet=websocket.wait())
            if (probe.packet_type, probe.data) != (packet.PING, "probe"):
                return False
            websocket.send(packet.Packet(packet.PONG, data="probe").encode())
            self.queue.put(packet.Packet(packet.NOOP))  # ends the polling request that waits
            upgrade = packet.Packet(encoded_packet=websocket.wait())
            return bool(upgrade.packet_type == packet.UPGRADE)
        finally:
            self.upgrading = False

    def _detach(self, websocket: WebSocket, line: NonBlockingWebSocket) -> None:
        """From now on the hub reads, and frames are written directly."""
        self.connected = self.upgraded = self.direct = True
        self._line, self._websocket, websocket.detached = line, websocket, line
        line.serve(websocket.receive, self._serve)
        line.at_end(self._ended)
        self.queue.each(framed)
        self.server.writer.hub.forget_waiters(self.queue)
        self.server.writer.mark(self)

    def _serve(self) -> bool:
        """Handle messages of the client; return whether the connection goes on."""
        websocket = self._websocket
        try:
            while websocket.unread:
                if (message := websocket.wait()) is None:
                    return False
                self._handle(message)
        except (OSError, ValueError, exceptions.SocketIsClosedError) as error:
            logger.debug("taskbridge: a connection ended: %s", error)
            return False
        except Exception:
            logger.exception("taskbridge: a message could not be handled")
            return False
        return True

    def _handle(self, message: str | bytes) -> None:
        if len(message) > self.server.max_http_buffer_size:
            raise ValueError("a message is too large")
        with contextlib.suppress(exceptions.UnknownPacketError):
            self.receive(packet.Packet(encoded_packet=message))

    def _ended(self) -> None:
        """End the session, since its connection has ended."""
        self.direct, self._line, self._websocket = False, None, None
        self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
        self.server.sockets.pop(self.sid, None)

    def send(self, pkt: packet.Packet) -> None:
        """Send a packet; see ``engineio.Socket``."""
        if not self.direct:
            super().send(pkt)
        elif self.closed:
            raise exceptions.SocketIsClosedError()
        else:
            self.offer(framed(pkt))

    def offer(self, frame: Frame | Answer | None) -> None:
        """Send what ``framed`` returned, or a frame; the socket must not be closed."""
        queue = self.queue
        if not self.direct:
            queue.put(frame)
            return
        queue.put_frame(frame)
        if not self.marked:
            self.server.writer.mark(self)
        if queue.size >= PIECE and not self.blocked:
            self.flush()

    def close(self, *args: object, **options: object) -> None:
        """Close; see ``engineio.Socket``."""
        super().close(*args, **options)
        if self.direct and not self.marked:
            self.server.writer.mark(self)  # its flush reaches the end of the queue and hangs up

    def schedule_ping(self) -> None:
        """Schedule the next ping unless one is scheduled; see ``engineio.Socket``."""
        if self.last_ping:
            self.last_ping = None
            self.server.writer.ping_later(self)

    def ping(self) -> None:
        """Send a ping."""
        if not self.closing and not self.closed:
            self.last_ping = time.time()
            self.send(packet.Packet(packet.PING))

    def flush(self) -> None:
        """Write queued frames as far as the client takes them, at most ``WRITES`` times."""
        self.marked = False
        queue = self.queue
        for _ in range(WRITES):
            if not (self.direct and not self.blocked and queue.queue):
                return
            # The usual case: one frame, which needs no join.
            alone = queue.take_only() if len(queue.queue) == 1 else None
            if not self._write(alone or self._take(PIECE)):
                self.blocked = True
                self.server.start_background_task(self._push)
        if queue.queue and not self.marked:
            self.server.writer.mark(self)

    def _take(self, most: int) -> bytes:
        """Return bytes of queued frames; see ``SendQueue.take``."""
        try:
            taken, ends = self.queue.take(most)
        except OSError:  # the journal has dropped the rest of an answer
            taken, ends = [], True
        self._ends = self._ends or ends
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _write(self, data: bytes) -> bool:
        try:
            there = self._line.write(data)  # type: ignore[union-attr]
        except OSError:
            there = self._ends = True
        if there and self._ends:
            self._hang_up()
        return there

    def _push(self) -> None:
        """Write to a client that reads slowly, waiting for it; runs in a greenlet of its own."""
        try:
            while self._line and self.direct:
                self.queue.begin()
                self._line.finish()
                self.queue.end()
                if not (self.queue.queue and not self._ends):
                    break
                self._line.write(self._take(HANDED_OUT))
        except OSError:
            self._ends = True
        self.blocked = False
        if self._ends:
            self._hang_up()

    def _hang_up(self) -> None:
        self.direct = False
        if self._line:
            # In the background: the closing frame waits while the client reads nothing.
            self.server.start_background_task(self._line.close)
