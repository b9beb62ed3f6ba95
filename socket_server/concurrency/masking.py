"""The unmasking of WebSocket frames, for eventlet."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["unmask"]


def unmask(data: bytes, mask: Sequence[int], length: int | None = None, offset: int = 0) -> bytes:
    """Undo a WebSocket frame's masking (RFC 6455, section 5.3), all bytes in one operation.

    eventlet's own loop takes a microsecond for every few bytes, and blocks all other clients.

    Args:
        data: masked bytes.
        mask: the four bytes of the masking key.
        length: bytes of ``data`` to unmask; default all.
        offset: offset of ``data`` in the frame's payload, in bytes.
    """
    length = len(data) if length is None else length
    turned = bytes(mask[(offset + place) % 4] for place in range(4))
    key = (turned * (length // 4 + 1))[:length]
    return (int.from_bytes(data[:length]) ^ int.from_bytes(key)).to_bytes(length)
