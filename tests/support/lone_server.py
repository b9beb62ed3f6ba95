"""A server without a broker and without a network, for tests of what it makes of packets."""

from __future__ import annotations

import json
from typing import Any

from bridge.settings import Settings
from socket_server.app import SocketServer, new_server
from socket_server.connection.shared_packet import Shared
from socket_server.messages.answer import Answer
from support.stack import SECRET

__all__ = ["SECRET", "LoneClient", "new_lone_server"]


def new_lone_server(**changes: Any) -> SocketServer:
    """Return a server whose bus nobody reads."""
    settings = Settings(broker_url="memory://", result_url="disabled://", secret=(SECRET,))
    server = new_server(settings.replace(**changes), async_mode="threading")
    server.manager.ready = True
    server.sio.manager_initialized = True
    # Nobody is to wait for what a test has not sent.
    server.sio.sleep = lambda seconds=0: None
    return server


class Pipe:
    """Stands in for an Engine.IO socket."""

    def __init__(self, server: Any, sid: str) -> None:
        self.server, self.sid, self.closed = server, sid, False
        self.queue = server.create_queue()

    def send(self, packet: Any) -> None:
        self.queue.put(packet)

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        self.closed = True
        self.server._trigger_event("disconnect", self.sid, reason, run_async=False)


class LoneClient:
    """A client at the other end of it."""

    def __init__(self, server: SocketServer) -> None:
        self._sio = server.sio
        self.sid = self._sio.eio.generate_id()
        self.pipe = Pipe(self._sio.eio, self.sid)
        self._sio.eio.sockets[self.sid] = self.pipe
        environ = {"REMOTE_ADDR": "1.2.3.4"}
        self._sio.eio._trigger_event("connect", self.sid, environ, run_async=False)

    @property
    def gone(self) -> bool:
        """Whether the server has hung up."""
        return self.pipe.closed

    def say(self, data: str | bytes) -> None:
        """Send a Socket.IO packet; what the server raises is raised here."""
        self._sio._handle_eio_message(self.sid, data)

    def told(self) -> list[str]:
        """Return the packets that wait for this client, and take them."""
        packets = [one for one in self.pipe.queue.queue.values() if one is not None]
        self.pipe.queue.queue.clear()
        self.pipe.queue._taken = self.pipe.queue._answers
        return [_text(one) for one in packets]

    def connect(self, token: Any) -> str:
        """Ask to be let in, and return the answer."""
        self.say(f"0/jobs,{json.dumps({'token': token})}")
        [answer] = self.told()
        return answer

    def ask(self, name: str, payload: Any) -> Any:
        """Send a request and return its answer."""
        self.say(f"2/jobs,7{json.dumps([name, payload])}")
        answers = [one for one in self.told() if one.startswith("3/jobs,7")]
        return json.loads(answers[0].removeprefix("3/jobs,7"))[0]


def _text(packet: Any) -> str:
    """Return a Socket.IO packet as it would be sent."""
    if isinstance(packet, Answer):
        pieces = []
        while not packet.done:
            pieces.append(packet.piece())
        return b"".join(pieces).decode()[1:]
    return packet.text[1:] if isinstance(packet, Shared) else packet.data
