"""Numbers and times as a person reads them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from bridge.cli.format import (
    BAR,
    LEFT,
    PERCENT,
    SPEED,
    SPINNER,
    TEXT,
    amount,
    counts,
    duration,
    fitted,
    percent,
    speed,
    time_of,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0s"),
        (-3, "0s"),
        (7.4, "7s"),
        (59.4, "59s"),
        (59.6, "1:00"),
        (65, "1:05"),
        (3599.6, "1:00:00"),
        (7384, "2:03:04"),
        (360_000, "100:00:00"),
    ],
)
def test_a_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "plain", "scaled"),
    [
        (0, "0", "0"),
        (7, "7", "7"),
        (0.25, "0.2", "0.2"),
        (999, "999", "999"),
        (1000, "1,000", "1k"),
        (1234.5, "1,234.5", "1.23k"),
        (193_400_000, "193,400,000", "193M"),
        (-2_000_000, "-2,000,000", "-2M"),
        (5e12, "5,000,000,000,000", "5T"),
        (999_999, "999,999", "1M"),
    ],
)
def test_an_amount(value, plain, scaled):
    assert amount(value, scale=False) == plain
    assert amount(value, scale=True) == scaled


@pytest.mark.parametrize(
    ("bar", "text"),
    [
        ({"n": 12, "total": 40, "unit": "file"}, "12/40 file"),
        ({"n": 12, "total": None, "unit": "file"}, "12 file"),
        ({"n": 12}, "12 it"),
        ({"n": 0, "total": 0, "unit": ""}, "0 it"),
        ({"n": 3, "total": 0, "unit": "row"}, "3 row"),
        ({"n": 193e6, "total": 823e6, "unit": "B", "unit_scale": True}, "193M/823MB"),
    ],
)
def test_how_far_a_bar_is(bar, text):
    assert counts(bar) == text


@pytest.mark.parametrize(
    ("n", "total", "value"),
    [
        (0, 10, 0), (9.99, 10, 99), (10, 10, 100), (15, 10, 100), (-5, 10, 0),
        (1, 0, None), (1, None, None),
    ],
)  # fmt: skip
def test_percent_are_whole_and_100_only_at_the_end(n, total, value):
    assert percent({"n": n, "total": total}) == value


@pytest.mark.parametrize(
    ("bar", "text"),
    [
        ({"rate": None}, ""),
        ({"rate": 0, "unit": "B"}, ""),
        ({"rate": 40, "unit": "file"}, "40 file/s"),
        ({"rate": 0.5}, "0.5 it/s"),
        ({"rate": 1.2e6, "unit": "B", "unit_scale": True}, "1.2MB/s"),
    ],
)
def test_a_rate(bar, text):
    assert speed(bar) == text


def test_what_matters_least_is_left_out_first():
    natural = [1, 200, 40, 5, 12, 11, 8]
    assert all(fitted(natural, 119))
    left_out = [
        [place for place, one in enumerate(fitted(natural, most)) if not one]
        for most in range(80, 20, -1)
    ]
    assert left_out[0] == []
    assert left_out[-1] == [SPINNER, PERCENT, 4, SPEED, LEFT]
    assert [len(one) for one in left_out] == sorted(len(one) for one in left_out)
    for most in range(20, 200):
        widths = fitted(natural, most)
        assert sum(widths) + sum(map(bool, widths)) - 1 <= most
        assert widths[TEXT] >= 8
        assert widths[BAR] >= 8


NOW = datetime(2026, 11, 29, 14, 30, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("today", "2026-11-29T00:00+02:00"),
        ("yesterday", "2026-11-28T00:00+02:00"),
        ("90m", "2026-11-29T13:00+02:00"),
        ("1.5d", "2026-11-28T02:30+02:00"),
        ("2026-11-28T10:00+00:00", "2026-11-28T12:00+02:00"),
    ],
)
def test_a_time_is_read_as_people_write_it(text, iso):
    assert time_of(text, NOW) == datetime.fromisoformat(iso).timestamp()


def test_a_time_without_a_zone_is_local():
    assert time_of("2026-11-28T14:30") == datetime(2026, 11, 28, 14, 30).timestamp()


@pytest.mark.parametrize("text", ["soon", "5", "-1d", "2026-13-01", ""])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"is no time: write today, yesterday, 90m"):
        time_of(text, NOW)
