"""A bar: tqdm's habits, and numbers that a person can believe."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bar import Bar
from bridge.errors import JobCancelled
from bridge.events import Event, finite_json


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def refuse():
    raise JobCancelled


def travels(bar):
    """Return a bar's sample after the check that every server would let it through."""
    sample = bar.sample()
    event = Event(job="j", task="t", type="progress", at=0, data={"bars": [sample]})
    assert Event.decode(json.loads(finite_json(event.encode()))) == event
    return sample


def test_iterating_gives_the_items_and_counts_them():
    bar = Bar(["a", "b", "c"], desc="rows")
    seen = [(item, bar.n) for item in bar]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert (bar.n, bar.total, bar.closed) == (3, 3, True)


def test_the_total_is_the_length_unless_given_or_unknown():
    assert Bar([1, 2]).total == 2
    assert Bar([1, 2], total=9).total == 9
    assert Bar([1, 2], total=0).total == 0
    assert Bar(iter([1, 2])).total is None
    assert len(Bar([1, 2])) == 2
    assert len(Bar()) == 0


def test_a_bar_is_true_even_if_empty_so_that_it_can_be_tested_for():
    assert Bar(total=0)


@pytest.mark.parametrize("total", [float("inf"), float("nan"), -1, 10**400, "many"])
def test_a_total_that_is_no_number_is_unknown_and_does_not_fail_the_job(total):
    bar = Bar(iter("ab"), total=total)
    assert list(bar) == ["a", "b"]
    assert travels(bar)["total"] in (None, -1)


def test_a_bar_without_an_iterable_says_how_to_move_it():
    with pytest.raises(TypeError, match=r"move it with update\(\)"):
        list(Bar())


def test_a_generator_that_raises_closes_the_bar_where_it_was():
    def rows():
        yield 1
        yield 2
        raise OSError("disk")

    bar = Bar(rows())
    with pytest.raises(OSError, match="disk"):
        list(bar)
    assert (bar.n, bar.closed) == (2, True)


def test_leaving_the_loop_early_closes_the_bar():
    bar = Bar(range(10))
    items = iter(bar)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert (bar.n, bar.closed) == (1, True)


def test_update_moves_by_one_by_many_back_and_by_fractions():
    bar = Bar(total=10)
    for step in (1, 5, -2, 0.5, 0):
        bar.update(step)
    bar.update()
    bar.update(None)
    assert bar.n == 6.5


def test_a_with_block_closes_the_bar_even_if_it_raises():
    with pytest.raises(ZeroDivisionError), Bar(total=1) as bar:
        1 / 0  # noqa: B018
    assert bar.closed


def test_closing_twice_tells_once():
    told = []
    bar = Bar(on_close=told.append)
    bar.close()
    bar.close()
    assert told == [bar]


def test_a_cancelled_job_stops_at_the_next_item_or_update():
    with pytest.raises(JobCancelled):
        list(bar := Bar([1], check=refuse))
    assert bar.closed
    with pytest.raises(JobCancelled):
        Bar(check=refuse).update()


def test_a_cancelled_iteration_closes_the_generator_it_read():
    ended = []

    def rows():
        try:
            yield from itertools.count()
        finally:
            ended.append(True)

    with pytest.raises(JobCancelled):
        list(Bar(source := rows(), check=refuse))
    del source
    assert ended == [True]


def test_a_postfix_reads_as_tqdms_does():
    bar = Bar(postfix={"file": "a.txt"})
    assert bar.sample()["postfix"] == "file=a.txt"
    bar.set_postfix({"loss": 0.123456}, step=7)
    assert bar.sample()["postfix"] == "loss=0.123, step=7"
    bar.set_postfix_str("free text")
    assert bar.sample()["postfix"] == "free text"


def test_a_description_can_be_set_and_taken_away():
    bar = Bar(desc="one")
    bar.set_description("two")
    assert bar.sample()["desc"] == "two"
    bar.set_description_str("three", refresh=False)
    assert bar.sample()["desc"] == "three"
    bar.set_description()
    assert bar.sample()["desc"] == ""


def test_what_tqdm_users_assign_to_directly_is_seen():
    bar = Bar(total=5)
    bar.n, bar.total, bar.desc = 3, 7, "now"
    bar.refresh()
    assert {"n": 3, "total": 7, "desc": "now"}.items() <= bar.sample().items()


def test_reset_starts_again_from_the_beginning(clock):
    bar = Bar(total=5, initial=1, clock=clock)
    bar.update(3)
    clock.now += 2
    bar.sample()
    bar.reset(total=9)
    sample = bar.sample()
    assert (sample["n"], sample["total"], sample["elapsed"], sample["rate"]) == (1, 9, 0, None)


def test_a_resumed_bar_takes_no_credit_for_what_was_done_before(clock):
    bar = Bar(total=100, initial=90, clock=clock)
    bar.update(5)
    clock.now += 1
    sample = bar.sample()
    assert (sample["rate"], sample["eta"]) == (5, 1)


def test_a_steady_bar_shows_its_rate_and_the_time_left(clock):
    bar = Bar(total=100, clock=clock)
    for _ in range(5):
        bar.update(10)
        clock.now += 1
        sample = bar.sample()
    assert sample["rate"] == pytest.approx(10)
    assert sample["eta"] == pytest.approx(5)
    assert sample["elapsed"] == 5


def test_a_bar_that_slows_down_shows_it_within_seconds(clock):
    bar = Bar(total=1000, clock=clock)
    for step in [10] * 50 + [1] * 100:
        bar.update(step)
        clock.now += 0.1
        sample = bar.sample()
    assert sample["rate"] == pytest.approx(10, rel=0.5)


def test_a_bar_sampled_at_once_divides_by_no_zero(clock):
    bar = Bar(total=0, clock=clock)
    assert bar.sample()["rate"] is None
    bar.update(5)
    sample = bar.sample()
    assert (sample["rate"], sample["eta"], sample["elapsed"]) == (None, None, 0)


def test_a_bar_that_goes_back_has_no_rate_below_zero_and_no_end_in_sight(clock):
    bar = Bar(total=10, initial=5, clock=clock)
    bar.update(-3)
    clock.now += 1
    sample = bar.sample()
    assert (sample["n"], sample["rate"], sample["eta"]) == (2, 0, None)


def test_a_bar_beyond_its_total_has_nothing_left(clock):
    bar = Bar(total=10, clock=clock)
    bar.update(15)
    clock.now += 1
    assert bar.sample()["eta"] == 0


def test_a_bar_that_stalled_for_a_night_still_travels(clock):
    bar = Bar(total=10**12, clock=clock)
    bar.update(1)
    for _ in range(10_000):
        clock.now += 5
        sample = bar.sample()
    assert (sample["rate"], sample["eta"]) == (0, None)


def test_a_bar_has_changed_when_a_person_would_see_it(clock):
    bar = Bar(total=10, clock=clock)
    sample = bar.sample()
    clock.now += 100
    assert not bar.changed(sample)
    for change in (
        lambda: bar.update(1),
        lambda: setattr(bar, "total", 11),
        lambda: bar.set_description("d"),
        lambda: bar.set_postfix_str("p"),
        bar.close,
    ):
        change()
        assert bar.changed(sample)
        sample = bar.sample()
        assert not bar.changed(sample)


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
    clock = Clock()
    bar = Bar(total=total, clock=clock)
    for step, passed in steps:
        bar.n = bar.n + step if isinstance(step, float) == isinstance(bar.n, float) else step
        clock.now += passed
        sample = travels(bar)
        assert sample["rate"] is None or sample["rate"] >= 0
        assert sample["eta"] is None or sample["eta"] >= 0
        assert sample["elapsed"] >= 0


@pytest.mark.parametrize(
    "value",
    [None, 7, "text", b"b", float("nan"), Fraction(1, 3), object(), [1], "\ud800"],
    ids=repr,
)
def test_whatever_is_assigned_to_a_bar_its_sample_travels(value):
    bar = Bar(desc=value, unit=value, total=value)
    bar.n = value
    assert not bar.changed(travels(bar))


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\0", '"'])
def test_thirty_two_bars_full_of_text_fit_one_event(letter):
    bar = Bar(desc=letter * 999, unit=letter * 999)
    bar.set_postfix_str(letter * 999)
    assert len(finite_json([travels(bar)] * 32)) < 60 * 1024
    assert bar.sample()["desc"].startswith(letter * 40)
