"""The header of a task's message, and the run of the task that has it."""

from __future__ import annotations

import time

import pytest
from celery.app.task import Context

from bridge.instrumentation.header import HEADER, execution, parent_of, run_of, sound
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import Run

#: Fields of a message of a task that another one spawned.
FIELDS = {"id": "t", "root_id": "j", "retries": 1, HEADER: {"owner": "o", "run": 2**52 - 9}}


@pytest.mark.parametrize("kind", [dict, Context])
def test_a_run_is_made_of_a_message_and_of_a_request(kind):
    run = run_of(kind(FIELDS), "n", ahead=2)
    assert (run.job, run.task, run.name, run.owner) == ("j", "t", "n", "o")
    assert (run.begun, run.execution) == (2**52 - 7, {"attempt": 2, "redelivered": False})


def test_a_job_has_the_id_of_its_own_task():
    run = run_of({"id": "t", HEADER: {}}, "n")
    assert (run.job, run.task, run.owner) == ("t", "t", None)
    assert run.begun == pytest.approx(time.time_ns() // 1000, abs=60_000_000)


def test_a_run_with_a_number_of_its_own_is_no_execution():
    run = run_of(FIELDS, "n", begun=0)
    assert (run.begun, run.execution) == (0, {})


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"id": "t"}, "n"), ({"id": "t", HEADER: None}, "n"), (FIELDS, "celery.chord_unlock")],
)
def test_a_task_without_a_header_and_a_helper_of_celery_are_not_tracked(fields, name):
    assert run_of(fields, name) is None


@pytest.mark.parametrize("run", [-1, 2**52, "1", None, 1.5, True])
def test_a_number_in_a_message_that_is_none_is_left_out(run):
    assert sound({"owner": "o", "run": run}) == {"owner": "o"}


@pytest.mark.parametrize("title", ["", "t" * 256, 7, None])
def test_a_title_in_a_message_that_is_none_is_left_out(title):
    assert sound({"owner": "o", "title": title}) == {"owner": "o"}


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({}, (1, False)),
        ({"retries": None, "delivery_info": None}, (1, False)),
        ({"retries": 2, "delivery_info": {"redelivered": True}}, (3, True)),
        ({"retries": "2", "delivery_info": {"redelivered": None}}, (1, False)),
    ],
)
def test_an_execution_is_what_celery_knows_of_its_message(fields, known):
    told = execution(fields)
    assert (told["attempt"], told["redelivered"]) == known


@pytest.mark.parametrize(
    ("attempt", "redelivered", "always"), [(1, False, False), (2, False, True), (1, True, True)]
)
def test_all_events_of_a_later_execution_say_which_it_is(attempt, redelivered, always):
    known = {"attempt": attempt, "redelivered": redelivered}
    run = Run(job="j", task="t", name="n", begun=7, execution=known)
    assert run.event("started", {"total": 1}).data == {"total": 1, **known}
    assert run.event("log", {"lines": []}).data == {"lines": [], **(known if always else {})}
    run.show(None, Meter(lambda: Reading(1, 2, "bar"), leave=True))
    assert (known.items() <= run.sample().data.items()) is always
    assert run.event("failed", {}).data == known


@pytest.mark.parametrize("fields", [{"parent_id": "p"}, Context(parent_id="p")])
def test_a_task_that_another_one_published_says_which(fields):
    assert parent_of(fields) == {"parent": "p"}
    for none in (None, "", 7, "x" * 256):
        assert parent_of({"parent_id": none}) == {}
