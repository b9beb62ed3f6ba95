"""Steps: named parts of a task, nested by context, bounded, and right wherever they end."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from contextlib import suppress

import pytest

from bridge import JobCancelled, job, progress
from bridge.protocol.event import MAX_EVENT_BYTES, MAX_META_BYTES, Event, finite_json
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import MAX_BARS, Run
from bridge.reporting.steps import MAX_STEPS, MAX_STEPS_BYTES
from support.clock import Clock
from support.reporting import inside_job


def listed(run):
    """Return name, state and name of the outer step of each, checked as every server does."""
    event = run.sample(force=True)
    assert Event.decode(json.loads(finite_json(event.encode()))) == event
    steps = event.data.get("steps", [])
    names = {step["id"]: step["name"] for step in steps}
    return [(step["name"], step["state"], names.get(step["parent"])) for step in steps]


def omitted(run):
    return run.sample(force=True).data.get("steps_omitted", 0)


def test_steps_nest_and_end_and_bars_and_lines_name_the_innermost_one():
    with inside_job() as (run, _):
        with job.step("outer"):
            bar = progress(range(3), desc="bar")
            with job.step("inner"):
                assert run.step().name == "inner"
                assert listed(run) == [("outer", "running", None), ("inner", "running", "outer")]
            assert run.step().name == "outer"
        assert run.step() is None
        assert listed(run) == [("outer", "succeeded", None), ("inner", "succeeded", "outer")]
        [sent] = run.sample(force=True).data["bars"]
        assert sent["step"] == run.sample(force=True).data["steps"][0]["id"]
        bar.close()


def test_outside_of_a_job_a_step_does_nothing():
    with job.step("nothing"):
        pass
    with pytest.raises(ValueError, match="mine"), job.step("nothing"):
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError, "failed"), (JobCancelled, "cancelled"), (SystemExit, "failed")],
)
def test_a_step_that_an_exception_leaves_says_so_and_lets_it_pass(error, state):
    with inside_job() as (run, _):
        with pytest.raises(error), job.step("outer"), suppress(KeyError), job.step("inner"):
            raise error
        assert {one[1] for one in listed(run)} == {state}


def test_the_exit_of_a_cancelled_task_s_process_cancels_its_steps():
    with inside_job() as (run, _):
        with suppress(SystemExit), job.step("forced"):
            run.cancelled = True
            raise SystemExit
        run.cancelled = False
        assert listed(run) == [("forced", "cancelled", None)]


def test_a_step_of_a_cancelled_job_does_not_begin():
    with inside_job() as (run, _):
        run.cancelled = True
        with pytest.raises(JobCancelled), job.step("never"):
            pytest.fail("it began")  # pragma: no cover


@pytest.mark.parametrize(
    ("kind", "data", "state"),
    [
        ("succeeded", {}, "succeeded"),
        ("lost", {}, "lost"),
        ("retrying", {"error": {"class": "E", "message": ""}}, "failed"),
        ("retrying", {"reason": "handed back"}, "lost"),
    ],
)
def test_the_end_of_the_task_ends_its_steps_and_none_begins_after_it(kind, data, state):
    with inside_job() as (run, _):
        step = job.step("left open")
        step.__enter__()
        run.close_steps(kind, data)
        run.over = True
        with job.step("in a handler of Celery"):
            assert listed(run) == [("left open", state, None)]
        step.__exit__(None, None, None)
        assert listed(run) == [("left open", state, None)]


def test_a_duration_is_that_of_the_monotonic_clock(monkeypatch):
    clock = Clock(100.0)
    with inside_job(clock=clock) as (run, _):
        with job.step("slow"):
            clock.now += 2.5
            monkeypatch.setattr("time.time", lambda: 5.0)  # it was set, far back
        [step] = run.sample(force=True).data["steps"]
        assert step["ended_at"] - step["started_at"] == pytest.approx(2.5, abs=0.002)


def test_a_name_may_be_anything():
    class Bad:
        def __str__(self):
            raise ValueError

    with inside_job() as (run, _):
        for name in (7, None, Bad(), "\ud800", "x" * 300, "客" * 300):
            with job.step(name):
                pass
        names = [name for name, *_ in listed(run)]
        assert names[:4] == ["7", "None", "", "\ud800"]
        assert names[4] == "x" * 200
        assert names[5] == "客" * 80


def test_of_many_steps_the_newest_stay_and_the_outer_ones_longest_and_the_rest_is_counted():
    with inside_job() as (run, _):
        for epoch in range(3):
            with job.step(f"epoch {epoch}"):
                for batch in range(100):
                    with job.step(f"batch {batch}"):
                        pass
        names = [name for name, *_ in listed(run)]
        assert len(names) == MAX_STEPS
        assert [name for name in names if name.startswith("epoch")] == [
            "epoch 0",
            "epoch 1",
            "epoch 2",
        ]
        assert names[-1] == "batch 99"
        assert omitted(run) == 303 - MAX_STEPS
        assert run.steps.open == 0


def test_a_step_too_many_is_not_listed_and_what_it_reports_is_that_of_the_step_around_it():
    with inside_job() as (run, _):
        steps = [job.step(f"step {number}") for number in range(MAX_STEPS + 5)]
        for step in steps:
            step.__enter__()
        assert run.step().name == f"step {MAX_STEPS - 1}"
        assert len(listed(run)) == MAX_STEPS
        assert omitted(run) == 5
        for step in reversed(steps):
            step.__exit__(None, None, None)
        assert {state for _, state, _ in listed(run)} == {"succeeded"}


def test_a_loop_sends_no_more_than_the_samples_and_nothing_while_nothing_changes():
    with inside_job() as (run, _):
        assert run.sample() is None
        for _ in range(1_000):
            with job.step("row"):
                pass
        assert len(run.sample().data["steps"]) == MAX_STEPS
        assert run.sample() is None


def test_a_sample_with_all_that_it_may_hold_fits_an_event_and_steps_give_way_to_bars():
    full = "\0" * 255
    run = Run(job=full, task=full, name=full, owner=full, begun=2**62)
    run.event("started", {})
    run.meta = {"m": "x" * (MAX_META_BYTES - len('{"m":""}'))}
    for _ in range(MAX_STEPS):
        run.steps.begin("\0" * 999)
    assert 0 < len(finite_json(run.steps.sample()["steps"])) <= MAX_STEPS_BYTES
    for number in range(MAX_BARS):
        bar = Reading(-1e149 / 3, 1e150 / 3, "\0" * 999, "\0" * 999, "\0" * 999)
        run.show(None, Meter(lambda bar=bar: bar))
        event = run.sample()
        assert len(finite_json(event.encode())) <= MAX_EVENT_BYTES
        assert "steps" in event.data or number > 24
        assert len(event.data.get("steps", [])) + event.data["steps_omitted"] == MAX_STEPS


def test_a_generator_s_step_ends_when_the_generator_does_in_any_order():
    def part(name):
        with job.step(name):
            yield

    with inside_job() as (run, _):
        first, second = part("first"), part("second")
        next(first), next(second)
        assert list(first) == []
        assert run.step().name == "second"
        second.close()
        assert run.step() is None
        assert [state for _, state, _ in listed(run)] == ["succeeded"] * 2


def test_a_generator_may_be_closed_by_another_thread():
    def part():
        with job.step("part"):
            yield

    with inside_job() as (run, _):
        made = part()
        next(made)
        thread = threading.Thread(target=made.close)
        thread.start()
        thread.join()
        assert run.step() is None
        assert listed(run) == [("part", "succeeded", None)]


def in_thread(work, context=None):
    thread = threading.Thread(target=context.run if context else work, args=[work] * bool(context))
    thread.start()
    thread.join()


def test_a_thread_is_in_the_step_of_its_context_or_else_in_that_of_the_task():
    def work():
        with job.step("inner"):
            pass

    with inside_job() as (run, _):
        with job.step("first"):
            copied = contextvars.copy_context()
            with job.step("second"):
                in_thread(work)
                in_thread(work, copied)
        assert listed(run) == [
            ("first", "succeeded", None),
            ("second", "succeeded", "first"),
            ("inner", "succeeded", "second"),
            ("inner", "succeeded", "first"),
        ]


def test_tasks_of_asyncio_at_once_have_steps_of_their_own():
    async def part(name):
        with job.step(name):
            await asyncio.sleep(0)
            with job.step(f"in {name}"):
                await asyncio.sleep(0)

    async def both():
        await asyncio.gather(part("a"), part("b"))

    with inside_job() as (run, _):
        asyncio.run(both())
        outer = {name: parent for name, _, parent in listed(run)}
        assert outer == {"a": None, "b": None, "in a": "a", "in b": "b"}


def test_threads_at_once_list_and_count_every_step():
    def work():
        for number in range(500):
            with job.step(str(number)), job.step("inner"):
                pass

    with inside_job() as (run, _):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(listed(run)) + omitted(run) == 4_000
        assert run.steps.open == 0


def test_the_next_run_of_the_thread_is_in_no_step_of_the_last():
    with inside_job("first"):
        job.step("left open").__enter__()
    with inside_job("second") as (run, _):
        assert run.step() is None
        with job.step("own"):
            assert listed(run) == [("own", "running", None)]
