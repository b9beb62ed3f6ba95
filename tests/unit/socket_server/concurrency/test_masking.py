"""The unmasking of WebSocket frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from socket_server.concurrency.masking import unmask


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4), st.integers(0, 9))
def test_unmasking_is_what_the_standard_says(data, mask, offset):
    expected = bytes(byte ^ mask[(offset + place) % 4] for place, byte in enumerate(data))
    assert unmask(data, tuple(mask), len(data), offset) == expected
    assert unmask(data, mask, offset=offset) == expected
