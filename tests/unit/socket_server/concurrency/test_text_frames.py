"""What is read without a parser is what wsproto reads, and anything else is left to wsproto."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, Ping, TextMessage

from socket_server.concurrency.text_frames import texts_of

MASK = b"\x12\x34\x56\x78"


def by_wsproto(data):
    """Return the messages that wsproto reads; None if it reads anything else."""
    protocol = Connection(ConnectionType.SERVER)
    protocol.receive_data(data)
    events = list(protocol.events())
    whole = all(type(one) is TextMessage and one.message_finished for one in events)
    # A part of a frame that waits for the rest ends, as an empty message would, at any more bytes.
    return (
        [one.data for one in events] if whole and protocol.state is ConnectionState.OPEN else None
    )


def frames(*events):
    client = Connection(ConnectionType.CLIENT)
    return b"".join(map(client.send, events))


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5))
@example(["x" * 125, "x" * 126, "x" * 65_535, "", "grün"])
def test_whole_text_messages_are_read_as_wsproto_reads_them(texts):
    assert texts_of(frames(*map(TextMessage, texts))) == texts


@given(st.lists(st.text(max_size=200), max_size=3), st.data())
def test_a_part_of_a_frame_is_left_to_wsproto(texts, data):
    whole = frames(*map(TextMessage, texts))
    last = frames(TextMessage("the last message"))
    assert texts_of(whole + last[: data.draw(st.integers(1, len(last) - 1))]) is None


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x81" + rest))
def test_of_any_bytes_it_reads_what_wsproto_reads_or_nothing(data):
    assert texts_of(data) in (None, by_wsproto(data))


#: Frames by what they are; some have a random mask.
OTHERS = {
    "binary": frames(BytesMessage(b"x")),
    "control": frames(Ping(b"x")),
    "fragmented": frames(TextMessage("x", message_finished=False)),
    "large": frames(TextMessage("x" * 65_536)),
    "not masked": b"\x81\x01x",
    "a reserved bit": b"\xc1\x81" + MASK + b"x",
    "a longer length than needed": b"\x81\xfe\0\x01" + MASK + b"x",
    "not UTF-8": b"\x81\x81\0\0\0\0\xff",
    "a far longer length than needed": b"\x81\xff" + struct.pack("!Q", 1) + MASK + b"x",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_frame_or_a_malformed_one_is_left_to_wsproto(kind):
    assert texts_of(OTHERS[kind]) is None
    assert texts_of(frames(TextMessage("before")) + OTHERS[kind]) is None
