"""A bar: all that tqdm's users rely on, inside a job and outside."""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from tqdm import TqdmKeyError, tqdm
from tqdm.contrib.concurrent import thread_map

from bridge import progress, progress_range
from bridge.errors import JobCancelled
from bridge.reporting.progress import Bar
from bridge.reporting.run import Run
from support.clock import Clock
from support.reporting import bars_of, inside_job

#: An option of tqdm's that means something on a terminal alone, and a value that changes much.
TERMINAL = {
    "file": io.StringIO(),
    "ncols": 0,
    "mininterval": 0,
    "maxinterval": None,
    "miniters": 1,
    "ascii": True,
    "dynamic_ncols": True,
    "smoothing": 0,
    "bar_format": "{desc}",
    "unit_divisor": 1024,
    "write_bytes": True,
    "lock_args": (False,),
    "nrows": 2,
    "colour": "green",
    "delay": 60,
    "gui": True,
}


@pytest.fixture
def inside():
    """A job to be in, with its emitter."""
    with inside_job(clock=Clock(100.0)) as here:
        yield here


@pytest.fixture
def run(inside):
    return inside[0]


def the_bar(run):
    [bar] = bars_of(run)
    return bar


def cancel(run):
    """Let the sender find the job cancelled."""
    run.cancelled = True
    run.notice_cancel()


def test_iterating_gives_the_items_and_counts_them(run):
    bar = progress(["a", "b", "c"], desc="rows")
    assert [(item, bar.n) for item in bar] == [("a", 0), ("b", 1), ("c", 2)]
    assert {"desc": "rows", "n": 3, "total": 3, "closed": True}.items() <= the_bar(run).items()


def test_the_total_is_the_length_unless_given_or_unknown(run):
    assert progress([1, 2]).total == 2
    assert progress([1, 2], total=9).total == 9
    assert progress([1, 2], total=0).total == 0
    assert progress(iter([1, 2])).total is None
    assert progress(total=float("inf")).total is None


def test_length_truth_and_contents_are_those_of_tqdm(run):
    for make in (tqdm, progress):
        options = {"file": io.StringIO()} if make is tqdm else {}
        bar = make(["a", "b"], **options)
        assert (len(bar), bool(bar), "b" in bar, "c" in bar) == (2, True, True, False)
        bar = make(total=7, **options)
        assert (len(bar), bool(bar)) == (7, True)
        assert not make([], **options)
        with pytest.raises(TypeError):
            bool(make(**options))


def test_a_bar_goes_backwards_over_what_can(run):
    assert list(reversed(progress("abc"))) == ["c", "b", "a"]


def test_what_a_bar_is_made_with_is_shown(run):
    options = {"total": 5, "desc": "d", "unit": "B", "unit_scale": True, "position": 3}
    bar = progress(**options, initial=2, postfix={"a": 1})
    bar.update()
    told = {"n": 3, "postfix": "a=1", "rate": None, "eta": None, "elapsed": 0, "closed": False}
    assert the_bar(run) == options | told


@pytest.mark.parametrize("option", TERMINAL)
def test_an_option_for_a_terminal_is_accepted_and_draws_nothing(run, capsys, option):
    bar = progress(range(3), desc="rows", **{option: TERMINAL[option]})
    assert list(bar) == [0, 1, 2]
    bar.refresh()
    bar.display()
    bar.clear()
    assert capsys.readouterr() == ("", "")
    assert TERMINAL["file"].getvalue() == ""
    assert the_bar(run)["n"] == 3


def test_options_may_be_given_by_position_as_with_tqdm(run):
    bar = progress(iter("ab"), "rows", 9, False, None, 80, 0.1, 10.0, 1, True, False, "row")
    assert (list(bar), bar.desc, bar.total, bar.leave, bar.unit) == (
        ["a", "b"], "rows", 9, False, "row",
    )  # fmt: skip


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_an_option_that_tqdm_has_not_is_refused_as_tqdm_does(request, where):
    if where == "inside":
        request.getfixturevalue("inside")
    with pytest.raises(TqdmKeyError, match="colr"):
        progress(range(3), colr="red")


def test_a_disabled_bar_counts_takes_everything_and_is_not_seen(run):
    bar = progress(range(3), disable=True, desc="never")
    bar.set_description("x")
    bar.set_postfix(a=1)
    bar.update(2)
    bar.refresh()
    bar.unpause()
    bar.reset(total=5)
    assert (list(bar), bar.n, bar.total) == ([0, 1, 2], 3, 5)
    assert str(bar)
    assert bars_of(run) == []


def test_a_bar_that_is_only_for_terminals_is_shown_since_somebody_may_watch(run):
    progress(total=3, disable=None)
    assert the_bar(run)["total"] == 3


@pytest.mark.parametrize(
    ("steps", "n"),
    [((1, 5, -2, 0), 4), ((0.5, 0.25), 0.75), ((Fraction(1, 2),), 0.5), ((True,), 1)],
    ids=str,
)
def test_update_moves_by_any_number(run, steps, n):
    bar = progress(total=10)
    for step in steps:
        assert not bar.update(step)
    assert bar.n == the_bar(run)["n"] == n


def test_a_step_may_be_a_number_of_another_library(run):
    class Integer:
        """As numpy's are: an addition gives another of them."""

        def __init__(self, value):
            self.value = value

        def __radd__(self, other):
            return Integer(self.value + (other.value if isinstance(other, Integer) else other))

        __add__ = __radd__

        def __float__(self):
            return float(self.value)

    bar = progress(total=Integer(10))
    bar.update(Integer(3))
    bar.update(Integer(4))
    assert (the_bar(run)["n"], the_bar(run)["total"]) == (7, 10)
    cancel(run)
    with pytest.raises(JobCancelled):
        bar.update(Integer(1))


def test_a_description_can_be_set_and_taken_away(run):
    bar = progress(total=1, desc="one")
    for change, shown in [
        (lambda: bar.set_description("two"), "two"),
        (lambda: bar.set_description_str("three", refresh=False), "three"),
        (lambda: setattr(bar, "desc", "four"), "four"),
        (lambda: bar.set_description(), ""),
    ]:
        change()
        assert the_bar(run)["desc"] == shown


def test_a_postfix_reads_as_tqdms_does(run):
    bar = progress(total=1)
    bar.set_postfix({"loss": 0.123456}, step=7, file=" a ")
    assert the_bar(run)["postfix"] == "loss=0.123, file=a, step=7"
    bar.set_postfix_str("free text", refresh=False)
    assert the_bar(run)["postfix"] == "free text"
    assert progress(total=1, postfix="text").postfix == "text"


def test_what_tqdm_users_assign_to_directly_is_seen(run):
    bar = progress(total=5)
    bar.n, bar.total, bar.desc, bar.unit = 3, 7, "now", "row"
    assert bar.refresh()
    assert {"n": 3, "total": 7, "desc": "now", "unit": "row"}.items() <= the_bar(run).items()


def test_reset_starts_again_from_nothing(run):
    bar = progress(total=5, initial=1)
    bar.update(3)
    run.clock.now += 2
    assert the_bar(run)["rate"] == 1.5
    bar.reset(total=9)
    sample = the_bar(run)
    assert (sample["n"], sample["total"], sample["elapsed"], sample["rate"]) == (0, 9, 0, None)
    assert bar.format_dict["elapsed"] == 0
    bar.reset()
    assert bar.total == 9


def test_a_pause_is_left_out_of_the_rate(run):
    bar = progress(total=5)
    run.clock.now += 100
    bar.unpause()
    bar.update()
    run.clock.now += 1
    assert the_bar(run)["rate"] == 1


def test_a_bar_can_be_formatted_as_tqdms_can(run, capsys):
    bar = progress(total=4, desc="rows", postfix={"a": 1})
    with tqdm(total=4, desc="rows", file=io.StringIO()) as plain:
        assert bar.format_dict.keys() == plain.format_dict.keys()
    bar.update()
    run.clock.now += 2
    bars_of(run)
    known = bar.format_dict
    assert (known["n"], known["total"], known["elapsed"], known["rate"]) == (1, 4, 2, 0.5)
    assert str(bar).startswith("rows:  25%|")
    assert str(bar).endswith("| 1/4 [00:02<00:06,  2.00s/it, a=1]")
    assert bar.format_sizeof(1234) == "1.23k"
    assert capsys.readouterr() == ("", "")


def test_open_bars_are_told_apart_and_sorted_by_line_as_tqdms_are(run):
    outer, inner = progress(total=1, desc="outer"), progress(total=1, desc="inner")
    assert outer != inner
    assert [outer, inner].index(inner) == 1
    assert sorted([inner, outer]) == [outer, inner]


def test_a_with_block_closes_the_bar_even_if_it_raises(run):
    with pytest.raises(ZeroDivisionError), progress(total=1) as bar:
        assert isinstance(bar, progress)
        1 / 0  # noqa: B018
    assert the_bar(run)["closed"]


def test_closing_twice_closes_no_bar_that_took_its_line(run):
    first = progress(total=1, leave=False)
    first.close()
    second = progress(total=2)
    first.close()
    second.update()
    assert (the_bar(run)["total"], the_bar(run)["n"], the_bar(run)["closed"]) == (2, 1, False)


def test_a_generator_that_raises_closes_the_bar_where_it_was(run):
    def rows():
        yield 1
        yield 2
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(progress(rows()))
    assert (the_bar(run)["n"], the_bar(run)["closed"]) == (2, True)


def test_leaving_the_loop_early_closes_the_bar(run):
    for item in progress(range(10)):
        if item == 1:
            break
    assert (the_bar(run)["n"], the_bar(run)["closed"]) == (1, True)


def test_a_bar_without_an_iterable_says_how_to_move_it(run):
    with pytest.raises(TypeError, match=r"move it with update\(\)"):
        iter(progress())


def test_a_bar_that_is_dropped_without_being_closed_is_closed_when_it_is_collected(run):
    progress(total=1).update()
    assert (the_bar(run)["n"], the_bar(run)["closed"]) == (1, True)
    progress(total=2, leave=False)
    assert bars_of(run) == []


def test_a_line_is_written_to_those_who_watch_or_to_a_file(inside, capsys):
    _, emitter = inside
    file = io.StringIO()
    bar = progress(total=1)
    for write in (progress.write, bar.write, Bar.write):
        write("line")
        write("text", file=file, end="|")
    assert emitter.logged == [("INFO", "line")] * 3
    assert file.getvalue() == "text|text|text|"
    assert capsys.readouterr() == ("", "")


def test_printing_beside_the_bars_works_as_with_tqdm(run, capsys):
    with progress(total=1).external_write_mode():
        sys.stdout.write("beside\n")
    assert capsys.readouterr().out == "beside\n"


def test_a_bar_counts_what_is_read_from_and_written_to_a_stream(run):
    with progress.wrapattr(io.BytesIO(b"x" * 10), "read", total=10, desc="in") as stream:
        while stream.read(4):
            pass
    with progress.wrapattr(io.StringIO(), "write", bytes=False, position=1, desc="out") as stream:
        stream.write("abc")
    read, written = bars_of(run)
    assert (read["desc"], read["n"], read["unit"], read["unit_scale"]) == ("in", 10, "B", True)
    assert (written["desc"], written["n"], written["unit"]) == ("out", 3, "it")


async def counted(count):
    for number in range(count):
        yield number


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("source", [lambda: range(3), lambda: counted(3), lambda: iter("abc")])
def test_async_for_goes_over_what_is_asynchronous_and_what_is_not(request, where, source):
    if where == "inside":
        request.getfixturevalue("inside")

    async def work():
        bar = progress(source(), file=io.StringIO())
        return [(item, bar.n) async for item in bar], bar

    seen, bar = asyncio.run(work())
    assert [n for _, n in seen] == [0, 1, 2]
    assert (bar.n, bar.disable) == (3, True)


def test_an_async_for_that_raises_closes_the_bar_and_one_that_is_cancelled_stops(run):
    async def work():
        async for item in progress(counted(10), leave=False):
            if item == 2:
                cancel(run)

    with pytest.raises(JobCancelled):
        asyncio.run(work())
    assert bars_of(run) == []


def test_as_a_tqdm_class_it_counts_what_threads_finish(run, monkeypatch, capsys):
    assert thread_map(str, range(50), tqdm_class=progress, max_workers=4, desc="m") == [
        str(number) for number in range(50)
    ]
    assert {"desc": "m", "n": 50, "total": 50, "closed": True}.items() <= the_bar(run).items()
    assert capsys.readouterr().err == ""


def test_a_bar_that_many_threads_move_counts_each_step(run):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        bar = progress(total=8000)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(lambda: [bar.update() for _ in range(2000)])
    finally:
        sys.setswitchinterval(interval)
    assert bar.n == 8000


def test_threads_of_a_job_have_bars_of_their_own(run):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda desc: list(progress(range(5), desc=desc, position=int(desc))), "012"))
    assert [(bar["desc"], bar["n"]) for bar in bars_of(run)] == [("0", 5), ("1", 5), ("2", 5)]


class Doubled(progress):
    """A class of somebody's own."""

    def __init__(self, *args, **options):
        self.moves = []
        super().__init__(*args, **options)

    def update(self, n=1):
        self.moves.append(n)
        return super().update(2 * n)


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_subclass_may_override_update_and_call_its_parents(request, where):
    if where == "inside":
        run, _ = request.getfixturevalue("inside")
    with Doubled(total=10, file=io.StringIO()) as bar:
        bar.update()
        bar.update(3)
    assert isinstance(bar, Doubled)
    assert (bar.moves, bar.n) == ([1, 3], 8)
    if where == "inside":
        assert the_bar(run)["n"] == 8


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_subclass_may_look_at_its_numbers_whenever_it_is_refreshed(request, where):
    class Watched(progress):
        def refresh(self, *args, **options):
            seen.append(self.format_dict["n"])
            return super().refresh(*args, **options)

    seen = []
    if where == "inside":
        request.getfixturevalue("inside")
    Watched(total=3, initial=2, file=io.StringIO()).refresh()
    assert seen[0] == seen[-1] == 2


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("disable", [False, True])
def test_a_subclass_with_slots_works_even_if_it_cannot_be_shown(request, where, disable):
    class Slotted(progress):
        __slots__ = ("more",)

    if where == "inside":
        request.getfixturevalue("inside")
    assert list(Slotted(range(3), disable=disable, file=io.StringIO())) == [0, 1, 2]


def test_no_bar_of_a_job_is_known_to_tqdm(run):
    progress._instances.clear()
    bars = [progress(total=1) for _ in range(3)]
    assert len(tqdm._instances) == 0
    assert all(isinstance(bar, tqdm) for bar in bars)


def test_a_bar_belongs_to_the_job_in_which_it_was_made():
    with inside_job("first") as (first, _):
        bar = progress(total=3)
    with inside_job("second") as (second, _):
        bar.update(2)
        progress(total=5)
    assert (the_bar(first)["n"], the_bar(second)["total"]) == (2, 5)


def test_progress_range_is_progress_over_a_range(run):
    assert list(progress_range(2, 8, 3, desc="x")) == [2, 5]
    assert the_bar(run)["desc"] == "x"


STEPS = {
    "update": lambda bar: bar.update(),
    "fraction": lambda bar: bar.update(0.5),
    "back": lambda bar: bar.update(-1),
    "nothing": lambda bar: bar.update(0),
    "addition": lambda bar: setattr(bar, "n", bar.n + 1),
    "subtraction": lambda bar: setattr(bar, "n", bar.n - 1),
    "next": lambda bar: next(bar.items),
    "another": lambda bar: progress(total=1),
    "another disabled": lambda bar: progress(total=1, disable=True),
    "write": lambda bar: bar.write("x"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("options", [{}, {"disable": True}, {"leave": False}], ids=str)
def test_a_cancelled_job_stops_at_its_next_step(run, step, options):
    bar = progress(itertools.count(), **options)
    bar.items = iter(bar)
    assert [next(bar.items), next(bar.items)] == [0, 1]
    cancel(run)
    with pytest.raises(JobCancelled):
        STEPS[step](bar)
    assert all((shown["n"], shown["closed"]) == (1, step == "next") for shown in bars_of(run))


def test_a_cancelled_job_cannot_go_on_with_a_bar(run):
    bar = progress(total=10)
    bar.update(4)
    cancel(run)
    for _ in range(3):
        run.notice_cancel()
        with pytest.raises(JobCancelled):
            bar.update()
    assert (the_bar(run)["n"], the_bar(run)["closed"]) == (4, False)


def test_a_step_that_is_just_made_is_stopped_the_next_time(run):
    bar = progress(total=3)
    cancel(run)
    bar.n = 2  # what an addition that had begun before does
    run.notice_cancel()
    with pytest.raises(JobCancelled):
        bar.update()
    assert the_bar(run)["n"] == 2


def test_a_cancelled_iteration_closes_the_generator_it_read(run):
    ended = []

    def rows():
        try:
            yield from itertools.count()
        finally:
            ended.append(True)

    with pytest.raises(JobCancelled):
        for item in progress(rows()):
            if item == 3:
                cancel(run)
    assert ended == [True]


def test_a_bar_outside_a_job_is_never_stopped():
    other = Run(job="j", task="t", name="n")
    bar = Bar(range(3))
    cancel(other)
    assert list(bar) == [0, 1, 2]


def test_outside_a_job_progress_is_drawn_on_the_terminal(capsys):
    bar = progress([1, 2, 3], desc="rows", unit="row")
    assert (type(bar), isinstance(bar, tqdm)) == (progress, True)
    assert list(bar) == [1, 2, 3]
    with progress(total=4, desc="bytes", unit="B", unit_scale=True) as bar:
        bar.update(4)
        bar.set_postfix(file="a")
        progress.write("beside")
    shown = capsys.readouterr()
    assert "rows: 100%" in shown.err
    assert "file=a" in shown.err
    assert shown.out == "beside\n"


def test_a_bar_that_was_stopped_goes_on_in_a_handler_after_the_body(run):
    bar = progress(total=10)
    bar.update(3)
    run.cancelled, run.interruptible = True, False
    bar.stop()
    bar.update(2)
    bar.n -= 1
    assert bar.n == 4
    run.interruptible = True
    bar.stop()
    with pytest.raises(JobCancelled):
        bar.update(1)
