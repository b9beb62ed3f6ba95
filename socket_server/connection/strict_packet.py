"""``StrictPacket``: a Socket.IO packet that is well formed, or an error."""

from __future__ import annotations

from socketio import packet

from socket_server.messages.strict_json import FiniteJson

__all__ = ["Malformed", "StrictPacket"]

#: Attachments of a binary message, which only an application's own namespaces accept.
MAX_ATTACHMENTS = 10


class Malformed(ValueError):
    """A client sent something that is not a packet, or a packet that clients may not send."""


class StrictPacket(packet.Packet):
    """A Socket.IO packet whose decoding fails if any part of it is malformed."""

    json = FiniteJson

    def decode(self, encoded_packet: object) -> int:
        """Decode a packet from a client; return how many attachments follow it.

        Raises:
            Malformed: it is not a packet that a client may send.
        """
        if not isinstance(encoded_packet, str):
            raise Malformed("an attachment without a message")
        try:
            attachments: int = super().decode(encoded_packet)
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise Malformed(type(error).__name__) from None
        self._check(attachments)
        return attachments

    def _check(self, attachments: int) -> None:
        binary = self.packet_type in (packet.BINARY_EVENT, packet.BINARY_ACK)
        if attachments > (MAX_ATTACHMENTS if binary else 0):
            raise Malformed("too many attachments")
        if binary and not attachments:
            raise Malformed("a binary message without a part")
        if self.packet_type == packet.CONNECT_ERROR or not 0 <= self.packet_type <= 6:
            raise Malformed("a packet of a type that only a server sends")
        if self.packet_type in (packet.EVENT, packet.BINARY_EVENT):
            named = isinstance(self.data, list) and self.data and isinstance(self.data[0], str)
            if not named:
                raise Malformed("an event without a name")
