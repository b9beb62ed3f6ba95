"""``StreamPosition``: its cursor is read only in the epoch that it is of."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from socket_server.journal.stream_position import StreamPosition


def event(run):
    return Event(job="j", task="t", type="log", at=1000.0, run=run, seq=1)


def test_a_cursor_is_read_as_the_position_that_it_was_made_of():
    position = StreamPosition.of(event(1), 7)
    assert position.offset == 7
    assert StreamPosition.decode(position.cursor("e1"), "e1") == position


def test_another_event_at_the_same_offset_has_another_position():
    assert StreamPosition.of(event(1), 7) != StreamPosition.of(event(2), 7)


@pytest.mark.parametrize(
    "cursor",
    ["", ":", "1", "e2:1.0", "e1:", "e1:1", "e1:1.", "e1:.", "e1:1.x", "e1:-1.0", "e1:²", "e1:1:1"],
)
def test_a_cursor_of_another_epoch_or_of_no_sense_has_no_position(cursor):
    assert StreamPosition.decode(cursor, "e1") is None
