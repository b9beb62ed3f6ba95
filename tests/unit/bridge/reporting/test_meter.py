"""A meter: numbers that a person can believe, whatever a bar is set to."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import Event, finite_json
from bridge.reporting.meter import Meter, Reading, finite
from support.clock import Clock


class Numeric:
    """A number of another library's."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)


class Broken:
    """What cannot be shown."""

    def __repr__(self):
        return "Broken()"  # the same in each process, as names of tests must be

    def __str__(self):
        raise RuntimeError("no text")

    __float__ = __str__


@pytest.fixture
def clock():
    return Clock(100.0)


def metered(clock, n=0, **fields):
    """Return a bar whose fields can be set, and its meter."""
    bar = SimpleNamespace(**Reading(n, **fields)._asdict())
    return bar, Meter(lambda: Reading(**vars(bar)), clock=clock)


def travels(meter):
    """Return a sample after the check that every server would let it through."""
    sample = meter.sample(0)
    event = Event(job="j", task="t", type="progress", at=0, data={"bars": [sample]})
    assert Event.decode(json.loads(finite_json(event.encode()))) == event
    return sample


def test_a_sample_says_all_of_a_bar(clock):
    _, meter = metered(clock, 2, total=4, desc="rows", postfix="a=1", unit="row", unit_scale=True)
    assert meter.sample(3) == {
        "position": 3,
        "desc": "rows",
        "unit": "row",
        "unit_scale": True,
        "n": 2,
        "total": 4,
        "postfix": "a=1",
        "rate": None,
        "eta": None,
        "elapsed": 0,
        "closed": False,
    }


def test_a_steady_bar_shows_its_rate_and_the_time_left(clock):
    bar, meter = metered(clock, total=100)
    for _ in range(5):
        bar.n += 10
        clock.now += 1
        sample = meter.sample(0)
    assert (sample["rate"], sample["eta"], sample["elapsed"]) == (10, 5, 5)


def test_a_resumed_bar_takes_no_credit_for_what_was_done_before(clock):
    bar, meter = metered(clock, 90, total=100)
    bar.n += 5
    clock.now += 1
    sample = meter.sample(0)
    assert (sample["rate"], sample["eta"]) == (5, 1)


def test_a_bar_that_slows_down_shows_it_within_seconds(clock):
    bar, meter = metered(clock, total=1000)
    for step in [10] * 50 + [1] * 100:
        bar.n += step
        clock.now += 0.1
        sample = meter.sample(0)
    assert sample["rate"] == pytest.approx(10, rel=0.5)


def follow(clock, bar, meter, steps, *, every=0.1):
    """Move a bar at given seconds to given counts, sample it, and yield seconds and samples."""
    begun, moment, steps = clock.now, 0.0, list(steps)
    while steps:
        moment += every
        clock.now = begun + moment
        while steps and steps[0][0] <= moment:
            bar.n = steps.pop(0)[1]
        if meter.changed():
            yield moment, meter.sample(0)


@pytest.mark.parametrize("every", [0.02, 0.1])
def test_the_time_left_of_a_steady_bar_is_right_from_its_first_second(clock, every):
    bar, meter = metered(clock, total=1000)
    steps = [(n / 40, n) for n in range(1, 1001)]
    seen = [(at, one) for at, one in follow(clock, bar, meter, steps, every=every) if at >= 1]
    for moment, sample in seen:
        assert sample["eta"] == pytest.approx(25 - moment, rel=0.1, abs=0.2)
        assert sample["rate"] == pytest.approx(40, rel=0.1)
    assert len(seen) > 200


def test_a_slow_first_step_does_not_spoil_the_time_left(clock):
    bar, meter = metered(clock, total=400)
    steps = [(8 + n / 10, 1 + n) for n in range(400)]
    for moment, sample in follow(clock, bar, meter, steps):
        if moment >= 9:
            assert sample["eta"] == pytest.approx(48 - moment, rel=0.1, abs=0.2)


def test_a_pause_of_seconds_leaves_the_time_left_as_it_is(clock):
    bar, meter = metered(clock, total=1000)
    for _, sample in follow(clock, bar, meter, [(n / 40, n) for n in range(1, 401)]):
        before = sample["eta"]
    for _ in range(5):
        clock.now += 1
        assert meter.sample(0)["eta"] == before


def test_a_bar_that_stands_still_for_long_has_ever_more_time_left_and_no_rate(clock):
    bar, meter = metered(clock, total=1000)
    *_, (_, last) = follow(clock, bar, meter, [(n / 40, n) for n in range(1, 401)])
    seen = [last["eta"]]
    for _ in range(6):
        clock.now += 20
        sample = meter.sample(0)
        seen.append(sample["eta"])
    assert seen == sorted(set(seen))
    assert sample["rate"] == 0


def test_a_bar_of_slow_steps_keeps_its_rate_and_time_left_between_them(clock):
    bar, meter = metered(clock, total=10)
    for _ in range(3):
        bar.n, clock.now = bar.n + 1, clock.now + 40
        meter.sample(0)
    for _ in range(3):
        clock.now += 10
        sample = meter.sample(0)
        assert (sample["rate"], sample["eta"]) == (0.025, 280)


def test_a_small_last_step_before_a_wait_does_not_make_the_rate_fall(clock):
    bar, meter = metered(clock, total=10**7)
    for step in [10**5] * 20 + [1]:
        bar.n, clock.now = bar.n + step, clock.now + 0.1
        meter.sample(0)
    clock.now += 0.5
    assert meter.sample(0)["rate"] > 900_000


def test_the_time_left_follows_a_total_that_grows(clock):
    bar, meter = metered(clock, total=100)
    *_, (_, sample) = follow(clock, bar, meter, [(n / 10, n) for n in range(1, 51)])
    assert sample["eta"] == pytest.approx(5, abs=0.2)
    bar.total = 1000
    assert meter.sample(0)["eta"] == pytest.approx(95, rel=0.05)


def test_a_bar_that_was_set_back_is_judged_by_what_it_does_then(clock):
    bar, meter = metered(clock, total=1000)
    list(follow(clock, bar, meter, [(n / 40, n) for n in range(1, 801)]))
    bar.n, clock.now = 0, clock.now + 0.1
    assert meter.sample(0)["eta"] is None
    *_, (_, sample) = follow(clock, bar, meter, [(n / 10, n) for n in range(1, 21)])
    assert sample["eta"] == pytest.approx(98, rel=0.1)


def test_a_resumed_bar_that_skips_what_is_done_shows_a_new_time_left_within_a_minute(clock):
    bar, meter = metered(clock, total=1000)
    steps = [(0.001 * n, n) for n in range(1, 401)] + [(0.4 + n, 400 + n) for n in range(1, 61)]
    *_, (_, sample) = follow(clock, bar, meter, steps)
    assert sample["eta"] == pytest.approx(540, rel=0.1)


def test_one_slow_step_does_not_make_the_rate_jump(clock):
    bar, meter = metered(clock, total=1000)
    for _ in range(50):
        bar.n += 10
        clock.now += 0.1
        meter.sample(0)
    clock.now += 0.1
    assert 90 < meter.sample(0)["rate"] <= 100
    bar.n += 10
    clock.now += 0.1
    assert 90 < meter.sample(0)["rate"] < 100


@pytest.mark.parametrize("interval", [0.02, 0.1, 0.5])
def test_the_rate_does_not_depend_on_how_often_it_is_sampled(clock, interval):
    bar, meter = metered(clock)
    for moment in range(round(6 / interval)):
        bar.n += (100 if moment * interval < 3 else 10) * interval
        clock.now += interval
        sample = meter.sample(0)
    before = (math.exp(-1) - math.exp(-2)) / (1 - math.exp(-2))  # weight of the first three seconds
    assert sample["rate"] == pytest.approx(10 + 90 * before, rel=0.02)


def test_the_rate_is_known_at_the_first_sample_after_some_time(clock):
    bar, meter = metered(clock, total=30)
    assert meter.rate is None
    bar.n, clock.now = 10, clock.now + 0.25
    assert meter.sample(0)["rate"] == meter.rate == 40


def test_a_bar_sampled_at_once_divides_by_no_zero(clock):
    bar, meter = metered(clock, total=0)
    assert meter.sample(0)["rate"] is None
    bar.n = 5
    sample = meter.sample(0)
    assert (sample["rate"], sample["eta"], sample["elapsed"]) == (None, None, 0)


def test_two_samples_at_the_same_moment_lose_no_step(clock):
    bar, meter = metered(clock)
    for _ in range(2):
        bar.n += 5
        meter.sample(0)
    clock.now += 1
    assert meter.sample(0)["rate"] == 10


def test_a_bar_that_goes_back_has_no_rate_below_zero_and_no_end_in_sight(clock):
    bar, meter = metered(clock, 5, total=10)
    bar.n -= 3
    clock.now += 1
    sample = meter.sample(0)
    assert (sample["n"], sample["rate"], sample["eta"]) == (2, 0, None)


def test_a_bar_beyond_its_total_has_nothing_left(clock):
    bar, meter = metered(clock, total=10)
    bar.n, clock.now = 15, clock.now + 1
    assert meter.sample(0)["eta"] == 0


def test_a_bar_without_a_total_has_a_rate_and_no_end(clock):
    bar, meter = metered(clock)
    bar.n, clock.now = 15, clock.now + 1
    sample = meter.sample(0)
    assert (sample["rate"], sample["eta"], sample["total"]) == (15, None, None)


def test_an_end_that_is_beyond_a_life_is_not_in_sight(clock):
    bar, meter = metered(clock, total=10**12)
    bar.n, clock.now = 1, clock.now + 1
    sample = meter.sample(0)
    assert (sample["rate"], sample["eta"]) == (1, None)


def test_a_bar_that_stalled_for_a_night_still_travels(clock):
    bar, meter = metered(clock, total=10**12)
    bar.n = 1
    for _ in range(10_000):
        clock.now += 5
        sample = meter.sample(0)
    assert (sample["rate"], sample["eta"]) == (0, None)


def test_a_pause_is_left_out_of_the_rate(clock):
    bar, meter = metered(clock, total=100)
    bar.n, clock.now = 10, clock.now + 1
    meter.sample(0)
    clock.now += 1000
    meter.unpause()
    bar.n, clock.now = 20, clock.now + 1
    assert meter.sample(0)["rate"] == 10


def test_a_reset_begins_again_with_time_and_rate(clock):
    bar, meter = metered(clock, 1, total=5)
    bar.n, clock.now = 4, clock.now + 2
    meter.sample(0)
    bar.n = 0
    meter.reset()
    sample = meter.sample(0)
    assert (sample["n"], sample["elapsed"], sample["rate"]) == (0, 0, None)
    bar.n, clock.now = 3, clock.now + 1
    assert meter.sample(0)["rate"] == 3


def test_a_bar_has_changed_when_a_person_would_see_it(clock):
    bar, meter = metered(clock, total=10)
    assert meter.changed()  # nobody has seen it yet
    meter.sample(0)
    clock.now += 100
    assert not meter.changed()
    for field, value in [("n", 1), ("total", 11), ("desc", "d"), ("postfix", "p"), ("unit", "u")]:
        setattr(bar, field, value)
        assert meter.changed()
        assert meter.changed()  # to look is not to tell
        meter.sample(0)
        assert not meter.changed()
    meter.close()
    assert meter.changed()
    assert meter.sample(0)["closed"]
    assert not meter.changed()


def test_a_closed_meter_keeps_what_the_bar_showed_last(clock):
    bar, meter = metered(clock, total=10)
    bar.n = 7
    meter.close()
    bar.n = 99
    meter.close()
    assert meter.closed
    assert meter.reading.n == meter.sample(0)["n"] == 7


def test_a_bar_that_is_gone_is_over_and_shown_as_it_was(clock):
    answers = [Reading(1), Reading(4), Reading(5)]
    meter = Meter(lambda: answers.pop(0) if answers else None, clock=clock)
    assert not meter.over()
    samples = [meter.sample(0) for _ in range(3)]
    assert [(sample["n"], sample["closed"]) for sample in samples] == [
        (5, False), (5, True), (5, True),
    ]  # fmt: skip
    assert meter.over()
    assert Meter(lambda: None, clock=clock).sample(0)["n"] == 0


def test_a_bar_that_goes_is_a_change_to_be_told(clock):
    answers = [Reading(1), Reading(1)]
    meter = Meter(lambda: answers.pop(0) if answers else None, clock=clock)
    meter.sample(0)
    assert meter.changed()
    meter.sample(0)
    assert not meter.changed()


def test_a_closed_meter_holds_nothing_of_the_bar(clock):
    kept = []

    class Owner:
        def read(self):
            return Reading(1)

        def __del__(self):
            kept.append("gone")

    meter = Meter(Owner().read, clock=clock)
    assert kept == []
    meter.close()
    assert kept == ["gone"]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(-(10**6), 10**6) | st.floats(-1e200, 1e200) | st.just(10**400),
            st.floats(0, 1e6),
        ),
        max_size=20,
    ),
    total=st.none() | st.integers(-5, 10**15) | st.floats(),
)
def test_whatever_a_bar_counts_its_sample_travels_and_nothing_is_negative(steps, total):
    clock = Clock(100.0)
    bar, meter = metered(clock, total=total)
    for step, passed in steps:
        bar.n = bar.n + step if isinstance(step, float) == isinstance(bar.n, float) else step
        clock.now += passed
        sample = travels(meter)
        assert sample["rate"] is None or sample["rate"] >= 0
        assert sample["eta"] is None or sample["eta"] >= 0
        assert sample["elapsed"] >= 0


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(1e-3, 100)), min_size=1, max_size=20))
def test_a_rate_lies_between_the_slowest_and_the_fastest_stretch(steps):
    clock = Clock(100.0)
    bar, meter = metered(clock)
    rates = []
    for step, passed in steps:
        before = clock.now
        bar.n += step
        clock.now += passed
        rates.append(step / (clock.now - before))
        meter.sample(0)
    assert min(rates) * 0.999 <= meter.rate <= max(rates) * 1.001


@pytest.mark.parametrize("field", Reading._fields)
@pytest.mark.parametrize(
    "value",
    [None, 7, "text", b"b", float("nan"), 10**400, Fraction(1, 3), [1], "\ud800", Broken()],
    ids=lambda value: repr(value)[:20],
)
def test_whatever_a_bar_is_set_to_its_sample_travels(clock, field, value):
    bar, meter = metered(clock)
    setattr(bar, field, value)
    travels(meter)
    assert not meter.changed()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (-2.5, -2.5),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (Decimal("1.5"), 1.5),
        (Numeric(2**60), float(2**60)),
        (None, None),
        (float("nan"), None),
        (float("-inf"), None),
        (10**400, None),
        (1e200, None),
        ("many", None),
        (object(), None),
        (Broken(), None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_number_is_plain_and_finite_or_none(value, number):
    found = finite(value)
    assert found == number
    assert type(found) is type(number)


def test_a_count_stays_a_whole_number_and_exact(clock):
    bar, meter = metered(clock, total=10**18 + 1)
    bar.n = 10**18 + 1
    sample = meter.sample(0)
    assert (sample["n"], sample["total"]) == (10**18 + 1, 10**18 + 1)


@pytest.mark.parametrize(
    ("desc", "shown"),
    [("rows: ", "rows"), ("rows", "rows"), (None, ""), (7, "7"), (": ", ""), (Broken(), "")],
    ids=repr,
)
def test_a_description_is_shown_without_the_colon_that_tqdm_adds(clock, desc, shown):
    assert metered(clock, desc=desc)[1].sample(0)["desc"] == shown


@pytest.mark.parametrize(
    ("scale", "shown"),
    [(False, False), (True, True), (1000, True), (0, False), (None, False), ("x", False)],
)
def test_whether_numbers_are_scaled_is_yes_or_no(clock, scale, shown):
    assert metered(clock, unit_scale=scale)[1].sample(0)["unit_scale"] is shown


def test_texts_are_cut_where_no_line_would_hold_them(clock):
    _, meter = metered(clock, desc="x" * 999, postfix="y" * 200, unit="é" * 999)
    sample = travels(meter)
    assert (sample["desc"], sample["postfix"], sample["unit"]) == ("x" * 200, "y" * 200, "é" * 80)


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\0", '"'])
def test_thirty_two_bars_full_of_text_fit_one_event(clock, letter):
    text = letter * 999
    _, meter = metered(clock, desc=text, postfix=text, unit=text)
    assert len(finite_json([travels(meter)] * 32)) < 60 * 1024
    assert meter.sample(0)["desc"].startswith(letter * 40)
