"""How far back the stream is whole."""

from __future__ import annotations

from socket_server.bus.stream_reach import Marks

REPLAY = 600.0


def test_a_stream_that_forgot_nothing_that_was_seen_is_whole_as_far_as_it_has_to_be():
    marks = Marks(REPLAY)
    assert [marks.note(0, 100 * minute, 60.0 * minute) for minute in range(30)] == [REPLAY] * 30


def test_it_is_whole_since_the_last_moment_of_which_nothing_is_forgotten():
    marks = Marks(REPLAY)
    for minute in range(5):
        marks.note(0, 100 * minute, 60.0 * minute)
    assert marks.note(250, 500, 300.0) == 300.0 - 120.0
    assert marks.note(450, 500, 310.0) == 310.0 - 240.0
    assert marks.note(500, 600, 320.0) == 320.0 - 240.0
    assert marks.note(501, 700, 330.0) == 330.0 - 310.0


def test_what_is_forgotten_because_it_is_old_is_not_missed():
    marks = Marks(REPLAY)
    marks.note(0, 100, 0.0)
    assert marks.note(100, 100, 5000.0) == REPLAY
    marks.note(100, 900, 5010.0)
    assert marks.note(100, 900, 5010.0 + REPLAY) == REPLAY


def test_it_reaches_as_far_again_once_what_is_forgotten_is_old():
    marks = Marks(REPLAY)
    marks.note(0, 100, 0.0)
    assert marks.note(200, 300, 60.0) == 60.0
    assert marks.note(200, 400, 60.0 + REPLAY) == REPLAY


def test_a_server_that_is_overtaken_by_what_is_forgotten_says_so():
    marks = Marks(REPLAY)
    assert marks.note(500, 100, 0.0) == 0.0
