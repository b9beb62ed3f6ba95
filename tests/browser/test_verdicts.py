"""What the page says of jobs that do not speak for themselves, and of the tasks of a canvas."""

from __future__ import annotations

import uuid

import pytest
from celery import group, signature
from playwright.sync_api import expect

from support.process import kill_all
from support.stack import Stack
from support.watched import Watched

QUICK = {"TASKBRIDGE_STALLED_AFTER": "3", "TASKBRIDGE_LOST_AFTER": "8"}


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    """A server without a worker, on RabbitMQ."""
    stack = Stack(tmp_path_factory.mktemp("verdicts"), rabbitmq.new_vhost(), **QUICK)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def shown(page, stack):
    """Enqueue a job that the page shows; return it and its part of the page."""

    def shown(task, *args):
        owner = uuid.uuid4().hex
        job = stack.bridge.enqueue(task, list(args), owner=owner)
        page.goto(f"{stack.url}/#token={stack.token(owner=owner, scope='watch cancel')}")
        card = page.locator(f'.job[data-job="{job.id}"]')
        expect(card).to_be_visible()
        return job, card

    return shown


def test_a_job_says_when_nobody_works_on_its_queue_and_how_many_are_ahead(shown, stack):
    job, card = shown("support.linger", 60)
    note = card.locator(".note")
    expect(note).to_have_text("No worker is consuming the queue “celery”.")
    worker = stack.start_worker("--concurrency", "1")
    Watched(stack, "support.add", 1, 1)
    _, behind = shown("support.add", 1, 1)
    text = "About 1 task ahead in the queue."
    expect(behind.locator(".note")).to_have_text(text)
    stack.bridge.cancel(job.id)
    expect(behind).to_have_attribute("data-state", "succeeded")
    worker.stop()


def test_a_job_whose_worker_died_has_no_news_and_is_lost(shown, stack):
    worker = stack.start_worker("--concurrency", "1")
    _, card = shown("support.linger_early", 60)
    expect(card).to_have_attribute("data-state", "running")
    kill_all(worker)
    expect(card.locator(".badge")).to_have_text("running, no news")
    expect(card.locator(".note")).to_contain_text("its worker may be busy, or gone")
    expect(card).to_have_attribute("data-state", "lost")
    expect(card.locator(".note")).to_contain_text("Nothing was heard of it for 8 s")


def test_the_tasks_of_a_canvas_are_listed_with_their_states(shown, stack):
    worker = stack.start_worker("--concurrency", "1")
    one = signature("support.work", args=[4], immutable=True)
    _, card = shown(group(one, one, one))
    card.get_by_text("Tasks (0 of 3 done)").click()
    rows = card.locator(".task-list li")
    expect(rows).to_have_text(["workrunning", "2 × workqueued"])
    worker.stop()


def test_a_job_that_is_tried_again_says_why_and_when(shown, stack):
    worker = stack.start_worker("--concurrency", "1")
    _, card = shown("support.later", 600)
    expect(card).to_have_attribute("data-state", "retrying")
    expect(card.locator(".error")).to_have_text("ValueError: not yet")
    expect(card.locator(".note")).to_contain_text("It is tried again in 9 min")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_attribute("data-state", "cancelled")
    worker.stop()
