"""When a delivery is attempted again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from socket_server.archive.webhooks.schedule import LIFETIME, next_attempt, seconds_to_wait


def attempts(at):
    """Return the times of all attempts of a delivery of which none succeeds."""
    times = [at]
    while (due := next_attempt(at, len(times), times[-1])) is not None:
        times.append(due)
    return times


def test_attempts_are_ever_rarer_for_a_day_and_the_last_one_is_at_its_end():
    times = attempts(1000.0)
    pauses = [after - before for before, after in pairwise(times)]
    assert 2.5 <= pauses[0] <= 5.0
    assert all(pause <= 3600.0 for pause in pauses)
    assert all(pause >= 1800.0 for pause in pauses[11:-1])
    assert times[-1] == 1000.0 + LIFETIME
    assert 30 < len(times) < 70
    within_ten_minutes = [one for one in times if one <= 1600.0]
    assert 7 <= len(within_ten_minutes) <= 10
    assert len({pauses[0], *(attempts(1000.0)[1] - 1000.0 for _ in range(5))}) == 6


def test_an_endpoint_says_how_long_to_wait_within_the_day():
    assert next_attempt(1000.0, 1, 1000.0, 700.0) == 1700.0
    assert next_attempt(1000.0, 1, 1000.0, 10 * LIFETIME) == 1000.0 + LIFETIME
    assert next_attempt(1000.0, 30, 1000.0, 1.0) >= 1000.0 + 1800.0


def test_a_delivery_that_is_late_since_the_archive_was_down_is_attempted_once_and_given_up():
    assert next_attempt(1000.0, 1, 1000.0 + LIFETIME) is None
    assert next_attempt(1000.0, 1, 1000.0 + 2 * LIFETIME) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 29 Nov 2026 12:01:00 GMT", 60.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 40, LIFETIME),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LIFETIME),
        *(
            (one, 0.0)
            for one in (None, "", "-5", "1.5", "1e9", "soon", "²", "\x00", "Sun, 99 Nov 2026")
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_is_none(header, seconds):
    assert seconds_to_wait(header, 1_795_953_600.0) == seconds
