"""The current job: silent outside one, and never somebody else's."""

from __future__ import annotations

import base64
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context

import pytest

from bridge import job
from bridge.errors import JobCancelled
from bridge.protocol.event import MAX_EVENT_BYTES, MAX_LOG_BYTES, MAX_META_BYTES, finite_json
from bridge.reporting import current_job
from support.reporting import inside_job


@pytest.fixture
def enter():
    """Enter jobs for the length of a test."""
    with ExitStack() as jobs:
        yield lambda name, **options: jobs.enter_context(inside_job(name, **options))


def in_a_thread(what):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what).result()


def test_outside_a_job_nothing_happens():
    job.log("nobody hears")
    job.output("this")
    job.output(b"or that")
    job.set_meta(a=object())
    job.raise_if_cancelled()
    assert job.id is None
    assert job.cancelled is False


def test_inside_a_job_lines_go_to_its_emitter(enter):
    _, emitter = enter("a")
    assert job.id == "a"
    job.log("one")
    job.log("two", level="warning")
    job.log(3, level=40)
    job.output("chunk")
    assert emitter.lines == [
        ("a", "log", "one", "INFO"),
        ("a", "log", "two", "WARNING"),
        ("a", "log", "3", "ERROR"),
        ("a", "output", "chunk", ""),
    ]


def test_a_line_is_cut_at_its_limit_and_not_within_a_letter(enter):
    _, emitter = enter("a")
    for text in ("é" * MAX_LOG_BYTES, "x" + "😀" * MAX_LOG_BYTES, "x" * MAX_LOG_BYTES, "y" * 9999):
        job.log(text)
    assert [text for _, text in emitter.logged] == [
        "é" * (MAX_LOG_BYTES // 2),
        "x" + "😀" * (MAX_LOG_BYTES // 4 - 1),
        "x" * MAX_LOG_BYTES,
        "y" * MAX_LOG_BYTES,
    ]


def test_a_line_that_is_no_unicode_is_shown_all_the_same(enter):
    _, emitter = enter("a")
    job.log("\ud800")
    job.log("\ud800" * MAX_LOG_BYTES)
    short, cut = (text for _, text in emitter.logged)
    assert short == "\ud800"
    assert 0 < len(cut.encode("utf-8", "replace")) <= MAX_LOG_BYTES


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\0"])
def test_output_of_any_length_arrives_whole_in_pieces_that_each_fit_an_event(enter, letter):
    _, emitter = enter("a")
    text = letter * 20_000 + "end"
    job.output(text)
    assert "".join(emitter.output) == text
    assert all(len(finite_json(chunk)) < MAX_EVENT_BYTES - 8192 for chunk in emitter.output)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_length_and_kind_arrive_whole_in_pieces_that_each_fit_an_event(enter, kind):
    _, emitter = enter("a")
    data = bytes(range(256)) * 500 + b"end"
    job.output(kind(data))
    assert b"".join(emitter.output) == data
    assert {type(chunk) for chunk in emitter.output} == {bytes}
    assert all(len(base64.b64encode(chunk)) < MAX_EVENT_BYTES - 8192 for chunk in emitter.output)


def test_bytes_are_what_they_were_when_they_were_handed_over(enter):
    _, emitter = enter("a")
    buffer = bytearray(b"before")
    job.output(buffer)
    buffer[:] = b"after!"
    assert emitter.output == [b"before"]


@pytest.mark.parametrize("nothing", ["", b""])
def test_no_output_is_no_chunk(enter, nothing):
    _, emitter = enter("a")
    job.output(nothing)
    assert emitter.lines == []


def test_of_facts_the_newest_of_each_name_is_shown_and_none_takes_it_away(enter):
    run, _ = enter("a")
    job.set_meta(device="cpu", epoch=1)
    job.set_meta(epoch=2, loss=0.5)
    assert run.meta == {"device": "cpu", "epoch": 2, "loss": 0.5}
    job.set_meta(device=None, absent=None)
    assert run.meta == {"epoch": 2, "loss": 0.5}


def test_facts_are_replaced_and_never_changed_in_place_since_the_sender_reads_them(enter):
    run, _ = enter("a")
    job.set_meta(a=1)
    before = run.meta
    job.set_meta(b=2)
    assert before == {"a": 1}
    assert run.sample().data["meta"] == {"a": 1, "b": 2}


def test_what_is_changed_after_it_was_told_is_not_told_by_itself(enter):
    run, _ = enter("a")
    layers = [1]
    job.set_meta(layers=layers)
    layers.append(math.nan)
    assert run.meta == {"layers": [1]}


@pytest.mark.parametrize("value", [1, "x", True, [1, {"a": None}], {"b": 0.5}, [], 0, ""])
def test_a_fact_is_any_json_value(enter, value):
    run, _ = enter("a")
    job.set_meta(fact=value)
    assert run.meta == {"fact": value}


@pytest.mark.parametrize("value", [math.nan, [math.inf], {1, 2}, b"b", 1j, {(1, 2): 3}], ids=repr)
def test_a_fact_that_is_not_json_is_shown_as_its_text(enter, value):
    run, _ = enter("a")
    job.set_meta(fact=value)
    assert run.meta == {"fact": str(value)}


def test_a_fact_that_contains_itself_is_shown_as_its_text(enter):
    run, _ = enter("a")
    loop = []
    loop.append(loop)
    job.set_meta(fact=loop)
    assert run.meta == {"fact": "[[...]]"}


def test_facts_that_are_too_long_are_left_out_the_longest_first_and_the_log_says_so(enter, caplog):
    run, _ = enter("a")
    job.set_meta(short="s", long="x" * 3000)
    assert caplog.records == []
    job.set_meta(longer="y" * 3001)
    assert run.meta == {"short": "s", "long": "x" * 3000}
    assert [record.getMessage() for record in caplog.records] == [
        "taskbridge: set_meta(longer=…) left out: it is too long"
    ]


def test_facts_may_take_all_of_their_limit(enter, caplog):
    run, _ = enter("a")
    job.set_meta(m="x" * (MAX_META_BYTES - len('{"m":""}')))
    assert len(finite_json(run.meta)) == MAX_META_BYTES
    job.set_meta(m="x" * (MAX_META_BYTES - len('{"m":""}') + 1))
    assert run.meta == {}
    assert len(caplog.records) == 1


def test_a_cancelled_job_stops_at_its_next_word(enter):
    run, emitter = enter("a")
    run.cancelled = True
    assert job.cancelled
    for say in (
        job.raise_if_cancelled,
        lambda: job.log("x"),
        lambda: job.output("x"),
        lambda: job.output(b"x"),
        lambda: job.set_meta(a=1),
    ):
        with pytest.raises(JobCancelled):
            say()
    assert emitter.lines == []
    assert run.meta == {}


def test_after_its_end_a_job_is_current_no_more(enter):
    run, emitter = enter("a")
    assert current_job.running(run.task) == current_job.here() == (run, emitter)
    assert current_job.leave(run.task) == (run, emitter)
    assert current_job.running(run.task) is None
    assert current_job.here() is None
    assert current_job.leave(run.task) is None
    assert job.id is None


def test_a_process_can_forget_all_jobs_at_once(enter):
    run, _ = enter("a")
    copy_context().run(enter, "b")
    current_job.leave_all()
    assert (job.id, current_job.running(run.task), in_a_thread(current_job.here)) == (
        None,
        None,
        None,
    )

    def in_a_job_of_a_thread():
        with inside_job("c"):
            return in_a_thread(lambda: job.id)

    assert in_a_thread(in_a_job_of_a_thread) is None


def test_two_contexts_never_mix(enter):
    contexts = [copy_context() for _ in range(2)]
    jobs = [context.run(enter, name) for context, name in zip(contexts, "ab", strict=True)]
    for number in range(3):
        for context in contexts:
            context.run(lambda number=number: (job.log(job.id), job.set_meta(**{job.id: number})))
    for name, (run, emitter) in zip("ab", jobs, strict=True):
        assert [(at, text) for at, _, text, _ in emitter.lines] == [(name, name)] * 3
        assert run.meta == {name: 2}


def test_two_threads_never_mix():
    both_inside = threading.Barrier(2, timeout=10)

    def work(name):
        with inside_job(name) as (_, emitter):
            both_inside.wait()
            job.log("here")
            both_inside.wait()
            return job.id, [at for at, _, _, _ in emitter.lines]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, "ab")) == [("a", ["a"]), ("b", ["b"])]


def test_a_thread_that_a_lone_job_in_the_main_thread_starts_belongs_to_it(enter):
    enter("a")
    assert in_a_thread(lambda: job.id) == "a"


def test_a_thread_belongs_to_nobody_while_two_jobs_run(enter):
    for name in "ab":
        copy_context().run(enter, name)
    assert in_a_thread(lambda: job.id) is None


def test_a_thread_belongs_to_nobody_once_the_job_has_ended(enter):
    run, _ = enter("a")
    current_job.leave(run.task)
    assert in_a_thread(lambda: job.id) is None


def test_a_thread_belongs_to_nobody_where_jobs_run_in_threads():
    inside, done = threading.Event(), threading.Event()

    def work():
        with inside_job("a"):
            inside.set()
            done.wait(10)
            return job.id

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        assert inside.wait(10)
        assert job.id is None
        assert in_a_thread(lambda: job.id) is None
        done.set()
        assert result.result() == "a"


def test_the_end_of_a_task_called_in_place_does_not_end_its_caller(enter):
    copy_context().run(enter, "another job in this process")
    enter("a")
    current_job.leave("a task that was never entered")
    assert job.id == "a"


def test_the_end_of_another_context_s_job_does_not_end_this_one(enter):
    other, _ = copy_context().run(enter, "another job in this process")
    enter("a")
    current_job.leave(other.task)
    assert job.id == "a"
    assert in_a_thread(lambda: job.id) == "a"
