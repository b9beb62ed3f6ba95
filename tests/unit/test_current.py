"""The current job: silent outside one, and never somebody else's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from tqdm import tqdm

from bridge import current, job, progress, progress_range
from bridge.bar import Bar
from bridge.errors import JobCancelled
from bridge.events import MAX_EVENT_BYTES, MAX_LOG_BYTES, finite_json
from bridge.run import Run


class Lines:
    """In an emitter's place: keeps what it is handed."""

    def __init__(self):
        self.lines = []

    def put_line(self, run, kind, line):
        self.lines.append((run.job, kind, line))


@pytest.fixture
def enter():
    """Enter runs for the length of a test."""
    entered = []

    def enter(name):
        run, emitter = Run(job=name, task=f"task of {name}", name="n"), Lines()
        current.enter(run, emitter)
        entered.append(run.task)
        return run, emitter

    yield enter
    for task in entered:
        current.leave(task)


def test_outside_a_job_nothing_happens():
    job.log("nobody hears")
    job.output("this")
    job.raise_if_cancelled()
    assert job.id is None
    assert job.cancelled is False


def test_outside_a_job_progress_is_tqdms_own_bar(capsys):
    bar = progress([1, 2, 3], desc="rows", unit="row")
    assert type(bar) is tqdm
    assert list(bar) == [1, 2, 3]
    assert "rows: 100%" in capsys.readouterr().err


def test_outside_a_job_progress_is_a_bar_to_be_moved_too(capsys):
    with progress(total=4, desc="bytes", unit="B", unit_scale=True) as bar:
        bar.update(4)
        bar.set_postfix(file="a")
    assert "file=a" in capsys.readouterr().err


def test_inside_a_job_progress_is_a_bar_of_its_run(enter, capsys):
    run, _ = enter("a")
    run.event("started", {})
    bar = progress(range(3), desc="rows", unit="row")
    assert type(bar) is Bar
    assert list(bar) == [0, 1, 2]
    assert run.sample().data["bars"][0]["desc"] == "rows"
    assert capsys.readouterr().err == ""


def test_progress_range_is_progress_over_a_range(enter):
    enter("a")
    assert list(progress_range(2, 8, 3, desc="x")) == [2, 5]


def test_inside_a_job_lines_go_to_its_emitter(enter):
    _, emitter = enter("a")
    assert job.id == "a"
    job.log("one")
    job.log("two", level="warning")
    job.log(3, level=40)
    job.output("chunk")
    kinds = [(kind, line if kind == "output" else line["level"]) for _, kind, line in emitter.lines]
    assert kinds == [("log", "INFO"), ("log", "WARNING"), ("log", "ERROR"), ("output", "chunk")]
    assert [line["message"] for _, kind, line in emitter.lines if kind == "log"] == [
        "one",
        "two",
        "3",
    ]


def test_a_line_is_cut_at_its_limit_and_not_within_a_letter(enter):
    _, emitter = enter("a")
    job.log("é" * MAX_LOG_BYTES)
    job.log("x" * MAX_LOG_BYTES)
    cut, whole = (line["message"] for _, _, line in emitter.lines)
    assert cut == "é" * (MAX_LOG_BYTES // 2)
    assert len(whole) == MAX_LOG_BYTES


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\0"])
def test_output_of_any_length_arrives_whole_in_pieces_that_each_fit_an_event(enter, letter):
    _, emitter = enter("a")
    text = letter * 20_000 + "end"
    job.output(text)
    assert "".join(chunk for _, _, chunk in emitter.lines) == text
    assert all(len(finite_json(chunk)) < MAX_EVENT_BYTES - 8192 for _, _, chunk in emitter.lines)


def test_a_cancelled_job_stops_at_its_next_word(enter):
    run, emitter = enter("a")
    run.cancelled = True
    assert job.cancelled
    for say in (job.raise_if_cancelled, lambda: job.log("x"), lambda: job.output("x")):
        with pytest.raises(JobCancelled):
            say()
    assert emitter.lines == []


def test_after_its_end_a_job_is_current_no_more(enter):
    run, emitter = enter("a")
    assert current.running(run.task) == (run, emitter)
    assert current.leave(run.task) == (run, emitter)
    assert current.running(run.task) is None
    assert current.leave(run.task) is None
    assert job.id is None


def test_two_contexts_never_mix(enter):
    contexts = [copy_context() for _ in range(2)]
    emitters = [context.run(enter, name)[1] for context, name in zip(contexts, "ab", strict=True)]
    for _ in range(3):
        for context in contexts:
            context.run(lambda: job.log(job.id))
    for name, emitter in zip("ab", emitters, strict=True):
        assert [(at, line["message"]) for at, _, line in emitter.lines] == [(name, name)] * 3


def test_two_threads_never_mix(enter):
    both_inside = threading.Barrier(2, timeout=10)

    def work(name):
        _, emitter = enter(name)
        both_inside.wait()
        job.log("here")
        return job.id, [at for at, _, _ in emitter.lines]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, "ab")) == [("a", ["a"]), ("b", ["b"])]


def test_a_thread_that_a_lone_job_starts_belongs_to_it(enter):
    enter("a")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: job.id).result() == "a"


def test_a_thread_of_unknown_origin_belongs_to_nobody_while_two_jobs_run(enter):
    for name in "ab":
        copy_context().run(enter, name)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: job.id).result() is None


def test_the_end_of_a_task_called_in_place_does_not_end_its_caller(enter):
    copy_context().run(enter, "another job in this process")
    enter("a")
    current.leave("a task that was never entered")
    assert job.id == "a"
