"""The kit for the tests of applications, as such a test uses it."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from celery import Celery, chain, chord, group
from tqdm import tqdm

from bridge import JobCancelled, job, progress
from bridge.errors import EnqueueError, JobEnded, JobFailed, JobNotFound
from bridge.testing import Bar, Line, MemoryBridge, Step, assert_progress, record


def export(rows):
    for row in progress(range(rows), desc="rows", unit="row"):
        for _ in progress(range(2), desc=f"row {row}", leave=False):
            pass
    job.log("skipped one", level="WARNING")
    job.output("a,b\n")
    job.output(b"1,2\n")
    job.set_meta(model="large")
    return rows


def test_what_a_function_reports_is_recorded(reported):
    assert export(2) == 2
    assert reported.bars == [
        Bar("rows", 2, 2, "row", "", True),
        Bar("row 0", 2, 2, "it", "", True),
        Bar("row 1", 2, 2, "it", "", True),
    ]
    assert reported.logs == [Line("skipped one", "WARNING")]
    assert reported.output == "a,b\n1,2\n"
    assert reported.meta == {"model": "large"}
    assert reported.states == ["started"]


def test_steps_are_recorded_with_their_ends(reported):
    with job.step("load"), job.step("read"):
        job.log("line")
    job.step("open").__enter__()
    reported.end("failed")
    assert reported.steps == [
        Step("load", "succeeded", None),
        Step("read", "succeeded", "load"),
        Step("open", "failed", None),
    ]
    [log] = [event for event in reported.events if event["type"] == "log"]
    assert log["data"]["step_names"] == {"2": "read"}


def test_bars_of_libraries_and_their_logging_are_recorded_too(reported):
    for _ in tqdm(range(3), desc="library"):
        logging.getLogger("library").warning("hm")
    assert_progress(reported, desc="library", total=3)
    assert reported.messages == ["hm"] * 3


def test_progress_that_a_task_stores_is_recorded_too(reported):
    app = Celery("kit", backend="cache+memory://", set_as_current=False)

    @app.task(bind=True, shared=False)
    def work(self):
        self.update_state(state="PROGRESS", meta={"current": 2, "total": 4, "status": "rows"})

    work.apply()
    assert_progress(reported, desc="rows", total=4, n=2, finished=False)


def test_a_bar_that_is_not_there_fails_with_a_list_of_those_that_are(reported):
    for _ in progress(range(3), desc="rows"):
        break
    with pytest.raises(AssertionError, match=r"(?s)no bar that finished with total=3;.*'rows'"):
        assert_progress(reported, total=3)
    assert assert_progress(reported, total=3, finished=False).desc == "rows"
    with record() as nothing, pytest.raises(AssertionError, match="none at all"):
        assert_progress(nothing)


def test_a_cancelled_job_stops_at_its_next_report(reported):
    done = []
    with pytest.raises(JobCancelled):
        for number in progress(range(10)):
            done.append(number)
            reported.cancel()
    assert done == [0]


def test_how_a_recorded_block_ends_is_recorded():
    with record() as good:
        pass
    with pytest.raises(ValueError, match="bad"), record() as bad:
        raise ValueError("bad")
    with pytest.raises(JobCancelled), record() as stopped:
        stopped.cancel()
        job.raise_if_cancelled()
    assert [one.states[-1] for one in (good, bad, stopped)] == ["succeeded", "failed", "cancelled"]
    assert bad.events[-1]["data"]["error"] == {"class": "ValueError", "message": "bad"}
    assert job.id is None


def test_a_job_within_a_job_is_one_of_its_own(reported):
    with record() as inner:
        job.log("inner")
    job.log("outer")
    assert (inner.messages, reported.messages) == (["inner"], ["outer"])


def test_threads_of_a_recorded_job_report_to_it(reported):
    thread = threading.Thread(target=export, args=[1])
    thread.start()
    thread.join()
    assert_progress(reported, desc="rows", total=1)


@pytest.fixture(scope="module")
def app():
    app = Celery("shop", set_as_current=False)
    app.task(export, name="shop.export")

    @app.task(name="shop.add")
    def add(a, b):
        return a + b

    @app.task(name="shop.total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="shop.fail")
    def fail():
        job.log("about to fail")
        raise ValueError("no such shop")

    @app.task(name="shop.stop")
    def stop():
        raise JobCancelled

    return app


@pytest.fixture
def bridge(app):
    return MemoryBridge(app)


def test_a_job_is_enqueued_by_name_and_has_run(bridge):
    done = bridge.enqueue("shop.export", [3], owner="ada")
    told = bridge.status(done.id)
    assert (told["state"], told["result"], told["owner"]) == ("succeeded", 3, "ada")
    assert told["bars"][0]["n"] == 3
    assert [event["type"] for event in bridge.watch(done.id)][-1] == "succeeded"
    assert_progress(bridge.jobs[done.id], desc="rows", total=3)
    assert done.token


def test_a_coroutine_enqueues_watches_and_awaits_a_job(bridge):
    async def main():
        done = await bridge.aenqueue("shop.export", [3], owner="ada")
        return [event["type"] async for event in bridge.awatch(done.id)], await done.result()

    types, result = asyncio.run(main())
    assert (types[-1], result) == ("succeeded", 3)
    assert bridge.enqueue("shop.export", [2]).wait() == 2
    with pytest.raises(JobFailed, match="has failed: ValueError: no such shop"):
        bridge.enqueue("shop.fail").wait()


def test_canvases_are_one_job(bridge, app):
    add, total = app.tasks["shop.add"], app.tasks["shop.total"]
    for canvas, result in (
        (chain(add.s(1, 2), add.s(3)), 6),
        (group(add.s(1, 2), add.s(3, 4)), [3, 7]),
        (chord([add.s(1, 2), add.s(3, 4)], total.s()), 10),
    ):
        done = bridge.enqueue(canvas, owner="ada")
        assert bridge.status(done.id)["result"] == result


def test_a_job_that_fails_does_not_fail_who_enqueued_it(bridge):
    done = bridge.enqueue("shop.fail")
    told = bridge.status(done.id)
    assert told["state"] == "failed"
    assert told["error"] == {"class": "ValueError", "message": "no such shop"}
    assert bridge.jobs[done.id].messages == ["about to fail"]


def test_a_task_that_raises_job_cancelled_is_cancelled(bridge):
    assert bridge.status(bridge.enqueue("shop.stop").id)["state"] == "cancelled"


def test_existing_code_is_owned_and_runs(bridge, app):
    with bridge.owner("ada"):
        assert app.tasks["shop.add"].delay(1, 2).get(disable_sync_subtasks=False) == 3
    [told] = [bridge.status(job) for job in bridge.jobs]
    assert (told["owner"], told["result"]) == ("ada", 3)


def test_what_cannot_work_is_one_sentence(bridge):
    with pytest.raises(EnqueueError, match=r"no task shop.exprot in shop"):
        bridge.enqueue("shop.exprot")
    with pytest.raises(JobNotFound):
        bridge.status("j")
    with pytest.raises(JobEnded, match="succeeded"):
        bridge.cancel(bridge.enqueue("shop.add", [1, 2]).id)


def test_pushes_are_recorded(bridge):
    bridge.push("notice", {"text": "hello"}, owner="ada")
    assert bridge.pushed == [("notice", {"text": "hello"}, {"owner": "ada"})]
