"""``texts_of``: the messages of clients that come as they usually do, read without a parser."""

from __future__ import annotations

__all__ = ["texts_of"]

#: First byte of a text message in a single frame, and the bit of a masked frame's second byte.
WHOLE_TEXT, MASKED = 0x81, 0x80
#: Values of the length that say that two bytes, or eight, with the length follow.
TWO_BYTES, EIGHT_BYTES = 126, 127


def texts_of(data: bytes) -> list[str] | None:
    """Return the messages of whole, masked text frames of less than 64 KiB (RFC 6455, section 5.2).

    Args:
        data: bytes of a client, from the beginning of a frame on.

    Returns:
        None if anything in the bytes is something else, malformed or incomplete.
    """
    texts, at = [], 0
    while at < len(data):
        head = data[at : at + 8]
        if len(head) < 6 or head[0] != WHOLE_TEXT or not head[1] & MASKED:
            return None
        size, begin = head[1] - MASKED, at + 6
        if size == TWO_BYTES:
            size, begin = int.from_bytes(head[2:4], "big"), at + 8
            if size < TWO_BYTES:
                return None  # a length that fits into one byte must be in one
        elif size == EIGHT_BYTES:
            return None
        at = begin + size
        if at > len(data):
            return None
        try:
            texts.append(_unmasked(data[begin:at], data[begin - 4 : begin]).decode())
        except UnicodeDecodeError:
            return None
    return texts


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    # One operation on two long numbers, not one for each byte.
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
