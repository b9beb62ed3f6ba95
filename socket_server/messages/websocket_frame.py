"""WebSocket frames as a server sends them (RFC 6455, section 5.2)."""

from __future__ import annotations

from struct import Struct

__all__ = ["BINARY", "CONTINUATION", "TEXT", "frame"]

#: Opcodes; a fragmented message begins with TEXT or BINARY, and its other frames continue it.
CONTINUATION, TEXT, BINARY = 0, 1, 2
FINAL = 0x80
#: Heads of frames: opcode and length, which has two or eight more bytes if it is large.
SMALL, MEDIUM, LARGE = Struct("!BB"), Struct("!BBH"), Struct("!BBQ")


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a frame.

    Args:
        payload: bytes of the payload.
        opcode: opcode of the frame; default TEXT.
        final: whether it is the last frame of its message; default True.
    """
    length, head = len(payload), opcode | (FINAL if final else 0)
    if length < 126:
        return SMALL.pack(head, length) + payload
    if length < 65536:
        return MEDIUM.pack(head, 126, length) + payload
    return LARGE.pack(head, 127, length) + payload
