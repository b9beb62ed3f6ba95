"""Answers to clients, whose events are read from the journal only while they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineio import packet

from bridge.protocol.event import finite_json
from socket_server.concurrency.state_lock import NoLock, StateLock
from socket_server.messages.excerpt import Excerpt
from socket_server.messages.websocket_frame import CONTINUATION, TEXT, frame

__all__ = ["Answer", "Body", "Encoded"]

#: Bytes of an answer that are composed at once, by default.
PIECE = 8 * 1024


class Encoded(str):
    """A string that is JSON already, and is not encoded again."""

    __slots__ = ()


class Body:
    """The payload of an answer.

    Args:
        fields: mapping of names to JSON values; :class:`Encoded` ones, alone or in lists, too.
        excerpt: events for the field ``events``; None for no such field.
        more: JSON of further events for that field.
    """

    __slots__ = ("excerpt", "fields", "inside", "more")

    def __init__(
        self,
        fields: Mapping[str, object],
        excerpt: Excerpt | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.fields, self.excerpt, self.more = fields, excerpt, more
        #: JSON of the fields, without the braces around them.
        self.inside = ",".join(f'"{name}":{_encode(value)}' for name, value in fields.items())

    @property
    def head(self) -> str:
        """The payload up to the first event of the excerpt."""
        return f"{{{self.inside}}}" if self.excerpt is None else f'{{{self.inside},"events":['

    @property
    def end(self) -> str:
        """The payload after the last event of the excerpt."""
        if self.excerpt is None:
            return ""
        return f"{',' if self.excerpt and self.more else ''}{','.join(self.more)}]}}"

    @property
    def size(self) -> int:
        """Characters of the payload."""
        return len(self.head) + len(self.end) + (self.excerpt.size if self.excerpt else 0)


def _encode(value: object) -> str:
    if isinstance(value, Encoded):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_encode, value))}]"
    return finite_json(value)


class Answer(packet.Packet):
    """An Engine.IO message with an answer, composed piece by piece while it is written.

    Args:
        begin: the Socket.IO packet up to its payload.
        body: the payload.
        state_lock: the state lock, held while the journal is read; default none.
    """

    latest = data = None

    def __init__(self, begin: str, body: Body, state_lock: StateLock | None = None) -> None:
        self.packet_type, self.binary = packet.MESSAGE, False
        self._excerpt, self._end = body.excerpt, f"{body.end}]"
        self._state_lock = state_lock or NoLock()
        self._text = f"{packet.MESSAGE}{begin}[{body.head}"
        #: Bytes held in memory; events that are still to be read from the journal do not count.
        self.size = len(self._text) + len(self._end)
        #: Whether the last piece was taken.
        self.done = False
        self._begun = False

    def encode(self, b64: bool = False) -> Answer:
        """Return the answer itself, which is written by ``piece`` or ``frame``."""
        return self

    def piece(self, most: int = PIECE) -> bytes:
        """Return the next bytes, ``most`` of them at most.

        Raises:
            Forgotten: the journal has dropped an event of the answer.
        """
        self._fill(most)
        piece, self._text = self._text[:most], self._text[most:]
        self.done = not (self._text or self._end)
        return piece.encode()

    def _fill(self, most: int) -> None:
        """Read on until more than ``most`` characters are at hand, if there are so many."""
        if len(self._text) <= most and self._excerpt is not None:
            with self._state_lock:
                text = self._excerpt.read(most + 1)
            self._text += text
            if not text or not self._excerpt.left:
                self._excerpt = None
        if len(self._text) <= most and self._excerpt is None:
            self._text, self._end = self._text + self._end, ""

    def frame(self, most: int = PIECE) -> bytes:
        """Return the next piece as a fragment of a WebSocket message; see ``piece``."""
        payload = self.piece(most)
        opcode, self._begun = CONTINUATION if self._begun else TEXT, True
        return frame(payload, opcode, final=self.done)
