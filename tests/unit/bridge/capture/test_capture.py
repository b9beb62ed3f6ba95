"""Capture: what code that knows nothing of taskbridge shows inside a job, and nowhere else."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
from contextlib import ExitStack
from contextvars import copy_context
from types import SimpleNamespace

import pytest
import tqdm.asyncio
import tqdm.auto
import tqdm.contrib
import tqdm.std
from celery import Task
from rich.console import Console
from rich.progress import Progress, TextColumn, track

from bridge import capture, progress
from bridge.capture import log_records, rich_bars, state_updates, streams, tqdm_bars
from bridge.errors import JobCancelled
from bridge.protocol.event import MAX_LOG_BYTES
from bridge.reporting.progress import Bar
from bridge.settings import Settings
from support.reporting import bars_of, inside_job

ALL = frozenset({"tqdm", "rich", "logging", "stdout", "stderr"})
plain = tqdm.std.tqdm


def keep(monkeypatch, owner, *names):
    """Let what is set at a class or module be as it was after the test."""
    for name in names:
        monkeypatch.setattr(owner, name, vars(owner)[name])


@pytest.fixture
def unhooked(monkeypatch):
    """Take all hooks away after a test."""
    keep(monkeypatch, plain, "__new__", "write")
    keep(monkeypatch, Progress, *rich_bars.HOOKS)
    keep(monkeypatch, Task, "update_state")
    rich_bars.install.cache_clear()
    state_updates.install.cache_clear()
    monkeypatch.setattr(log_records._handler, "level", logging.NOTSET)
    monkeypatch.setattr(log_records._handler, "show_tracebacks", False)
    yield
    logging.root.removeHandler(log_records._handler)
    rich_bars.install.cache_clear()
    state_updates.install.cache_clear()


@pytest.fixture
def hooks(unhooked):
    """Set the hooks for bars and records, as a worker does."""
    capture.prepare(Settings())
    capture.attach(ALL - {"stdout", "stderr"}, Settings())


@pytest.fixture
def tees(monkeypatch):
    """Return what sets the hooks for streams; pytest sets the streams itself until then."""

    def attach():
        keep(monkeypatch, sys, "stdout", "stderr")
        capture.attach(frozenset({"stdout", "stderr"}), Settings())

    return attach


@pytest.fixture
def enter(hooks):
    """Enter jobs, of which everything is captured, for the length of a test."""
    with ExitStack() as jobs:
        yield lambda name, kinds=ALL: jobs.enter_context(inside_job(name, capture=kinds))


@pytest.fixture
def here(enter):
    return enter("j")


def shown(run):
    """Return text, count and total of each bar of a run."""
    return [(bar["desc"], bar["n"], bar["total"]) for bar in bars_of(run)]


def console():
    """Return a console that draws for nobody."""
    return Console(file=io.StringIO(), width=80)


class Own(plain):
    """A user's own class."""

    def __init__(self, *args, **options):
        options.setdefault("desc", "own")
        super().__init__(*args, **options)
        self.seen = []

    def update(self, n=1):
        self.seen.append(n)
        return super().update(n)


class Nested(Own, tqdm.asyncio.tqdm):
    """A class of two of tqdm's."""


class Slotted(plain):
    """A class that cannot be captured."""

    __slots__ = ("more",)


CLASSES = [plain, tqdm.tqdm, tqdm.auto.tqdm, tqdm.asyncio.tqdm, Own, Nested]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_a_bar_of_any_class_of_tqdms_is_seen_and_not_drawn(here, capsys, cls):
    run, _ = here
    bar = cls(range(3), desc="rows", leave=False)
    assert isinstance(bar, cls)
    assert list(bar) == [0, 1, 2]
    with cls(total=5, desc="bytes") as bar:
        bar.update()
        bar.update(3)
    assert shown(run) == [("bytes", 4, 5)]
    assert capsys.readouterr() == ("", "")


def test_a_user_s_subclass_keeps_what_it_does(here):
    run, _ = here
    with Own(total=3) as bar:
        bar.update(2)
    assert bar.seen == [2]
    assert shown(run) == [("own", 2, 3)]


def test_the_shortcuts_of_tqdm_are_seen_too(here):
    run, _ = here
    list(tqdm.trange(3, desc="a", position=0))
    list(tqdm.auto.trange(4, desc="b", position=1))
    list(tqdm.contrib.tzip("ab", "cd", desc="c", position=2))
    assert shown(run) == [("a", 3, 3), ("b", 4, 4), ("c", 2, 2)]


def test_an_asynchronous_bar_is_seen(here):
    run, _ = here

    async def work():
        async def number(value):
            return value

        numbers = [value async for value in tqdm.asyncio.tqdm(iter("ab"), desc="loop")]
        return numbers + await tqdm.asyncio.tqdm.gather(number(1), number(2), position=1)

    assert asyncio.run(work()) == ["a", "b", 1, 2]
    assert shown(run) == [("loop", 2, None), ("", 2, 2)]


def test_progress_is_seen_whatever_is_captured(enter):
    run, _ = enter("j", frozenset())
    list(progress(range(3)))
    list(tqdm.tqdm(range(4), file=io.StringIO()))
    assert shown(run) == [("", 3, 3)]


def test_a_class_that_cannot_be_captured_is_drawn_as_before(here):
    run, _ = here
    file = io.StringIO()
    assert list(Slotted(range(3), file=file)) == [0, 1, 2]
    assert list(Slotted(range(3), file=file, disable=True)) == [0, 1, 2]
    assert "3/3" in file.getvalue()
    assert shown(run) == []


@pytest.mark.parametrize(
    "module", ["gui", "tk", "contrib.telegram", "contrib.slack", "contrib.discord"]
)
def test_a_bar_that_is_drawn_elsewhere_than_on_the_terminal_is_drawn_there(here, module):
    class Elsewhere(plain):
        __module__ = f"tqdm.{module}"

        def display(self, *args, **options):
            drawn.append(self.n)

    drawn = []
    for cls in (Elsewhere, type("Own", (Elsewhere,), {})):
        drawn.clear()
        list(cls(range(3), mininterval=0, file=io.StringIO()))
        assert drawn[-1] == 3


@pytest.mark.filterwarnings("ignore:rich is experimental")
def test_a_bar_that_tqdm_draws_with_rich_is_seen_as_one_of_richs(here, capsys):
    import tqdm.rich

    run, _ = here
    list(tqdm.rich.tqdm(range(3), desc="rows", options={"console": console()}))
    assert shown(run) == [("rows", 3, 3)]
    assert capsys.readouterr().err == ""


def test_a_line_written_beside_the_bars_is_seen_and_one_for_a_file_goes_there(here, capsys):
    _, emitter = here
    file = io.StringIO()
    for cls in (plain, tqdm.auto.tqdm, Own):
        cls.write("line")
        cls.write("text", file=file, end="|")
    with Own(total=1) as bar:
        bar.write("of a bar")
    assert emitter.logged == [("INFO", "line")] * 3 + [("INFO", "of a bar")]
    assert file.getvalue() == "text|" * 3
    assert capsys.readouterr().out == ""


def test_a_cancelled_job_stops_at_the_next_step_of_a_captured_bar(here):
    run, _ = here
    bars = [Own(total=3), tqdm.asyncio.tqdm(total=3), tqdm.tqdm(total=3, disable=True)]
    with Progress(console=console()) as drawn:
        task = drawn.add_task("rows")
        run.cancelled = True
        run.notice_cancel()
        steps = [bar.update for bar in bars]
        steps += [lambda: tqdm.tqdm(total=1), lambda: tqdm.tqdm.write("x")]
        steps += [lambda: drawn.advance(task), lambda: drawn.update(task, completed=1)]
        steps += [lambda: drawn.add_task("another"), lambda: next(iter(drawn.track([1])))]
        for step in steps:
            with pytest.raises(JobCancelled):
                step()


def test_a_cancelled_job_stops_at_the_next_item_that_rich_tracks(here):
    run, _ = here
    seen = []
    with pytest.raises(JobCancelled):
        for item in track(range(9), console=console()):
            seen.append(item)
            run.cancelled = item == 2
    assert seen == [0, 1, 2]
    assert [(bar["n"], bar["closed"]) for bar in bars_of(run)] == [(2, True)]


def test_what_rich_tracks_is_seen_and_not_drawn(here):
    run, _ = here
    screen = console()
    counts = []
    for _ in track(range(3), "[bold]Working[/]", console=screen):
        counts.append(shown(run))
    assert counts == [[("Working", n, 3)] for n in range(3)]
    assert shown(run) == [("Working", 3, 3)]
    assert bars_of(run)[0]["closed"]
    assert screen.file.getvalue() == ""


def test_each_task_of_a_progress_of_rich_is_a_bar(here):
    run, _ = here
    with Progress(console=console()) as drawn:
        first, second = drawn.add_task("one", total=10), drawn.add_task("two", total=None)
        drawn.advance(first)
        drawn.update(first, advance=2, description="[red]eins")
        drawn.update(second, completed=5, total=8)
        assert shown(run) == [("eins", 3, 10), ("two", 5, 8)]
        drawn.reset(first)
        assert shown(run)[0] == ("eins", 0, 10)
        assert not any(bar["closed"] for bar in bars_of(run))
    assert all(bar["closed"] for bar in bars_of(run))


def test_a_description_that_is_no_markup_is_shown_as_it_is(here):
    run, _ = here
    with Progress(console=console()) as drawn:
        drawn.add_task("a [/b] c")
    assert shown(run) == [("a [/b] c", 0, 100)]


def test_a_task_s_unit_is_what_its_fields_say(here):
    run, _ = here
    with Progress(console=console()) as drawn:
        drawn.add_task("bytes", unit="B")
        drawn.add_task("rows")
    assert [bar["unit"] for bar in bars_of(run)] == ["B", "it"]


def test_a_removed_task_disappears_as_it_does_on_a_terminal(here):
    run, _ = here
    with Progress(console=console()) as drawn:
        first, _second = drawn.add_task("one"), drawn.add_task("two")
        drawn.remove_task(first)
        assert shown(run) == [("two", 0, 100)]
        drawn.add_task("three")
        assert shown(run) == [("three", 0, 100), ("two", 0, 100)]


def test_a_transient_progress_disappears_when_it_ends(here):
    run, _ = here
    with Progress(console=console(), transient=True) as drawn:
        drawn.add_task("one")
        assert shown(run) == [("one", 0, 100)]
    assert shown(run) == []


def test_a_progress_of_rich_that_is_disabled_is_not_seen(here):
    run, _ = here
    assert list(track(range(3), disable=True)) == [0, 1, 2]
    assert shown(run) == []


def test_a_progress_that_is_dropped_without_being_stopped_holds_no_line(here):
    run, _ = here
    for number in range(2):
        drawn = Progress(console=console(), transient=number == 1)
        drawn.add_task(str(number), completed=number)
        assert [bar["closed"] for bar in bars_of(run)] == [False]
        del drawn
        gc.collect()
    assert shown(run) == []


def test_a_progress_that_two_jobs_share_is_taken_off_the_lines_of_each(enter):
    drawn = Progress(console=console(), transient=True)
    for name in "ab":
        with inside_job(name, capture=ALL) as (run, _):
            with drawn:
                drawn.add_task(name)
                assert shown(run) == [(name, 0, 100)]
            assert shown(run) == []


def logger(name):
    found = logging.getLogger(name)
    found.setLevel(logging.DEBUG)
    return found


def test_records_of_logging_are_seen_with_their_level_and_time(here):
    _, emitter = here
    logger("app.module").info("read %d rows", 3)
    logger("app.module").error("no %s", "disk")
    logging.getLogger().warning("of the root")
    assert emitter.logged == [
        ("INFO", "read 3 rows"), ("ERROR", "no disk"), ("WARNING", "of the root"),
    ]  # fmt: skip
    record = logging.makeLogRecord({"name": "app", "msg": "earlier", "created": 12.5})
    log_records._handler.handle(record)
    assert emitter.at[-1] == 12.5


def test_a_record_below_the_level_is_not_seen(here, monkeypatch):
    _, emitter = here
    logger("app").debug("not this")
    capture.attach(ALL, Settings(capture_level=logging.ERROR))
    logger("app").warning("nor this")
    logger("app").error("this")
    assert emitter.logged == [("ERROR", "this")]


@pytest.mark.parametrize("name", sorted(log_records.NOT_THE_JOBS))
def test_records_about_how_a_job_is_run_are_not_the_jobs(here, name):
    _, emitter = here
    logger(name).warning("not this")
    logger(f"{name}.worker").warning("nor this")
    logger(f"{name}s.own").warning("this")
    assert emitter.logged == [("WARNING", "this")]


def test_of_an_exception_only_class_and_message_leave_the_worker(here):
    _, emitter = here
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger("app").exception("failed")
    logger("app").error("no error at hand", exc_info=True)
    (_, text), (_, other) = emitter.logged
    assert text == "failed\nZeroDivisionError: division by zero"
    assert other == "no error at hand"


def test_a_traceback_is_seen_where_the_settings_say_so(here):
    _, emitter = here
    capture.attach(ALL, Settings(show_tracebacks=True))
    try:
        raise OSError("disk")
    except OSError:
        logger("app").exception("failed")
    [(_, text)] = emitter.logged
    assert text.startswith("failed\nTraceback (most recent call last):\n")
    assert text.endswith("OSError: disk")


def test_a_record_is_cut_as_a_line_of_the_jobs_is(here):
    _, emitter = here
    logger("app").info("x" * 99_999)
    assert emitter.logged == [("INFO", "x" * MAX_LOG_BYTES)]


def test_a_record_whose_arguments_are_wrong_is_shown_and_fails_nothing(here, monkeypatch):
    _, emitter = here
    record = logging.makeLogRecord({"name": "app", "msg": "%d rows", "args": ("many",)})
    log_records._handler.handle(record)
    assert [text for _, text in emitter.logged] == ["%d rows"]


def test_no_record_and_no_print_stops_a_cancelled_job_that_cleans_up(here, tees):
    run, emitter = here
    tees()
    run.cancelled = True
    logger("app").info("cleaning up")
    sys.stdout.write("and more")
    assert emitter.logged == [("INFO", "cleaning up")]
    assert emitter.output == ["and more"]


def test_what_is_printed_is_seen_as_output_and_printed_all_the_same(here, tees, capsys):
    _, emitter = here
    tees()
    assert sys.stdout.write("out\n") == 4
    sys.stderr.write("err\n")
    sys.stdout.writelines(["a", "b\n"])
    sys.stdout.flush()
    assert emitter.output == ["out\n", "err\n", "a", "b\n"]
    assert capsys.readouterr() == ("out\nab\n", "err\n")


def test_a_stream_is_used_as_before(here, tees):
    original = sys.stdout
    tees()
    assert sys.stdout is not original
    assert sys.stdout.encoding == original.encoding
    assert sys.stdout.buffer is original.buffer
    assert sys.stdout.isatty() == original.isatty()
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")
    assert here[1].output == []
    with pytest.raises(AttributeError):
        _ = sys.stdout.nothing


def test_a_stream_that_is_not_there_is_left_alone(unhooked, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    streams.attach(["stdout"])
    assert sys.stdout is None


def do_everything():
    """Show something in every way."""
    list(tqdm.tqdm(range(2), file=io.StringIO()))
    tqdm.tqdm.write("written")
    list(track(range(2), console=console()))
    logger("app").info("logged")
    sys.stdout.write("out")
    sys.stderr.write("err")


@pytest.mark.parametrize(
    ("kind", "bars", "logged", "output"),
    [
        ("tqdm", 1, ["written"], []),
        ("rich", 1, [], []),
        ("logging", 0, ["logged"], []),
        ("stdout", 0, [], ["written", "\n", "out"]),
        ("stderr", 0, [], ["err"]),
        (None, 0, [], []),
    ],
)
def test_of_a_run_is_captured_what_it_says_and_nothing_else(
    enter, tees, kind, bars, logged, output
):
    run, emitter = enter("j", frozenset({kind}))
    tees()
    do_everything()
    assert len(bars_of(run)) == bars
    assert [text for _, text in emitter.logged] == logged
    assert emitter.output == output


def test_outside_a_job_nothing_is_captured(hooks, tees):
    tees()
    with inside_job(capture=ALL) as (run, emitter):
        pass
    do_everything()
    assert (bars_of(run), emitter.lines) == ([], [])


def test_two_contexts_never_mix(enter, tees):
    tees()
    contexts = {name: copy_context() for name in "ab"}
    jobs = {name: context.run(enter, name) for name, context in contexts.items()}
    bars, drawn = {}, {}
    for name, context in contexts.items():
        bars[name] = context.run(tqdm.tqdm, desc=f"tqdm {name}", total=9)
        drawn[name] = context.run(Progress, console=console())
        context.run(drawn[name].add_task, f"rich {name}")
    for _ in range(2):
        for name, context in contexts.items():
            bars[name].update()
            context.run(logger("app").info, name)
            context.run(sys.stdout.write, name)
            context.run(tqdm.tqdm.write, name)
    for name, (run, emitter) in jobs.items():
        assert shown(run) == [(f"tqdm {name}", 2, 9), (f"rich {name}", 0, 100)]
        assert [text for _, text in emitter.logged] == [name] * 4
        assert emitter.output == [name] * 2


def drawn_by_all():
    """Return what bars draw; their times are left out."""
    file, screen = io.StringIO(), console()
    for cls in CLASSES:
        list(cls(range(3), desc="a", file=file, mininterval=0, bar_format="{desc} {n_fmt}"))
        with cls(total=3, file=file, mininterval=0, bar_format="{desc} {n_fmt}") as bar:
            bar.update(2)
            cls.write("line", file=file)
        assert type(bar) is cls
    columns = [TextColumn("{task.description} {task.completed}")]
    with Progress(*columns, console=screen, auto_refresh=False) as drawn:
        first, second = drawn.add_task("one"), drawn.add_task("two")
        list(drawn.track([1, 2], description="three"))
        drawn.advance(first, 7)
        drawn.update(first, advance=1)
        drawn.remove_task(second)
    return file.getvalue(), screen.file.getvalue()


def test_hooks_change_nothing_outside_a_job(unhooked):
    before = drawn_by_all()
    capture.prepare(Settings())
    assert drawn_by_all() == before
    assert "one 8" in before[1]


def test_setting_the_hooks_again_changes_nothing(hooks, tees):
    def set_now():
        bars = [vars(plain)["write"].__func__, plain.__new__, vars(plain)["__new__"].__func__]
        bars += [vars(Progress)[name] for name in rich_bars.HOOKS]
        return bars, list(logging.root.handlers), sys.stdout, sys.stderr

    tees()
    before = set_now()
    capture.prepare(Settings())
    capture.attach(ALL, Settings())
    assert set_now() == before


def test_lines_are_only_listened_for_where_they_are_wanted(unhooked, monkeypatch):
    keep(monkeypatch, sys, "stdout", "stderr")
    before = (list(logging.root.handlers), sys.stdout, sys.stderr)
    capture.attach(frozenset({"tqdm", "rich"}), Settings())
    assert (list(logging.root.handlers), sys.stdout, sys.stderr) == before
    capture.attach(frozenset({"stderr"}), Settings())
    assert sys.stdout is before[1]
    assert isinstance(sys.stderr, streams.Tee)


def test_without_rich_the_rest_is_captured(unhooked, monkeypatch):
    original = Progress.add_task
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    capture.prepare(Settings())
    assert Progress.add_task is original
    with inside_job(capture=ALL):
        assert isinstance(tqdm.tqdm(total=1), Bar)


@pytest.mark.parametrize(
    ("own", "owner", "kinds"),
    [
        (None, "o", {"tqdm", "stdout"}),
        (None, None, set()),
        (["logging"], "o", {"logging"}),
        (("logging",), None, {"logging"}),
        ((), "o", set()),
    ],
)
def test_a_task_has_the_last_word_about_what_is_captured_of_it(own, owner, kinds):
    settings = Settings(capture=("tqdm", "stdout"))
    task = SimpleNamespace(taskbridge_capture=own)
    assert capture.kinds_for(task, owner, settings) == kinds
    assert capture.kinds_for(object(), "o", settings) == {"tqdm", "stdout"}


def test_the_hooks_of_other_tests_are_gone():
    assert plain.__new__ is tqdm_bars._new
    assert not hasattr(Progress.add_task, "__wrapped__")
    assert log_records._handler not in logging.root.handlers
