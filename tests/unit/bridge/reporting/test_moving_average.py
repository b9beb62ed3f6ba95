"""A moving average: the weights of intervals."""

from __future__ import annotations

import math

import pytest

from bridge.reporting.moving_average import MovingAverage


def test_nothing_is_known_before_the_first_interval():
    assert MovingAverage(3).rate() is None
    assert MovingAverage(3).rate(100) is None


def test_the_first_interval_has_no_more_weight_than_its_length_gives_it():
    average = MovingAverage(10)
    average.add(0, 0.02)
    average.add(40, 1)
    assert average.rate() == pytest.approx(40, rel=0.03)


def test_intervals_within_a_small_part_of_the_memory_count_by_their_length():
    average = MovingAverage(1000)
    average.add(10, 1)
    average.add(40, 3)
    assert average.rate() == pytest.approx((10 + 40 * 3) / 4, rel=0.01)


def test_one_interval_weighs_as_much_as_its_parts():
    whole, parts = MovingAverage(3), MovingAverage(3)
    for average in whole, parts:
        average.add(100, 2)
    whole.add(10, 1)
    for _ in range(10):
        parts.add(10, 0.1)
    assert whole.rate() == pytest.approx(parts.rate())


def test_the_memory_grows_with_the_averaged_time():
    fixed, growing = MovingAverage(10), MovingAverage(10, 0.25)
    for average in fixed, growing:
        for _ in range(400):
            average.add(100, 1)
        average.add(10, 10)
    kept = math.exp(-1)
    assert fixed.rate() == pytest.approx(10 + 90 * kept, rel=0.01)
    assert growing.rate() > 90


def test_a_rate_stands_for_the_memory_and_then_falls_to_nothing():
    average = MovingAverage(3)
    average.add(40, 1)
    assert average.rate(3) == 40
    assert average.rate(6) == pytest.approx(40 * math.exp(-1))
    assert average.rate(1e9) == 0


def test_a_rate_stands_for_as_long_as_the_last_interval():
    average = MovingAverage(3)
    average.add(0.025, 40)
    assert average.rate(40) == 0.025
    assert average.rate(60) < 0.025
