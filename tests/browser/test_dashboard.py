"""What the page lets a reader do with many jobs, and what survives a reload or a restart."""

from __future__ import annotations

import re
import uuid

import pytest
from celery import chord, signature
from playwright.sync_api import expect

from support.stack import Stack
from support.wait import until

EVERYTHING = "watch cancel enqueue"
FLOWER = "http://flower.example:5555"


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    stack = Stack(folder, rabbitmq.new_vhost(), TASKBRIDGE_FLOWER_URL=FLOWER)
    try:
        stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def owner():
    return uuid.uuid4().hex


@pytest.fixture
def open_page(page, stack, owner):
    def open_page():
        page.goto(f"{stack.url}/#token={stack.token(owner=owner, scope=EVERYTHING)}")
        expect(page.locator("#connection")).to_have_text("Live")
        return page

    return open_page


def card(page, job):
    return page.locator(f'.job[data-job="{job.id}"]')


def run(stack, owner, task, *args):
    """Run a job to its end and return it."""
    job = stack.bridge.enqueue(task, list(args), owner=owner)
    list(stack.bridge.watch(job.id))
    return job


def start_other(page, name, args):
    page.get_by_text("Other task", exact=True).click()
    page.locator(".fields:enabled [name=name]").fill(name)
    page.locator(".fields:enabled [name=args]").fill(args)
    page.get_by_role("button", name="Start").click()


def test_jobs_are_found_by_name_and_by_state(open_page, stack, owner):
    added, failed = run(stack, owner, "support.add", 1, 2), run(stack, owner, "support.fail")
    page = open_page()
    expect(page.locator(".job:visible")).to_have_count(2)
    page.get_by_label("Filter jobs by name or id").fill("ADD")
    expect(page.locator(".job:visible")).to_have_count(1)
    expect(card(page, added)).to_be_visible()
    page.get_by_label("Filter jobs by name or id").fill("")
    page.get_by_label("Filter jobs by state").select_option("failed")
    expect(card(page, failed)).to_be_visible()
    expect(card(page, added)).to_be_hidden()
    page.get_by_label("Filter jobs by name or id").fill("no such job")
    expect(page.get_by_text("No job matches the filter.")).to_be_visible()


def test_more_jobs_than_are_listed_are_counted_and_shown_when_asked_for(
    open_page, stack, owner, tmp_path
):
    def counts(page):
        names = [
            name for name in ("running", "queued", "ended") if page.locator(f"#{name}").is_visible()
        ]
        return {name: page.locator(f"#{name}-count").text_content() for name in names}

    def add(count):
        return [stack.bridge.enqueue("support.add", [1, 2], owner=owner) for _ in range(count)]

    ended = add(102)
    list(stack.bridge.watch(ended[-1].id))
    work = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    held = stack.bridge.enqueue("support.held", [str(tmp_path / "end")], owner=owner)
    waiting = add(99)
    page = open_page()
    expect(page.locator("#running-count")).to_have_text("2")
    assert counts(page) == {"running": "2", "queued": "99", "ended": "102"}
    # Not listed, and known by its events alone: it has all the same what came before them.
    expect(card(page, work)).to_have_attribute("data-state", "running")
    expect(card(page, work).get_by_role("progressbar")).to_have_attribute("aria-valuemax", "6000")
    expect(card(page, held)).to_be_visible()
    expect(page.locator("#more-text")).to_have_text("Not listed: 102 finished.")
    expect(card(page, waiting[0]).locator(".note")).to_contain_text("Next in the queue.")
    expect(card(page, waiting[98]).locator(".note")).to_contain_text("About 98 tasks ahead")
    expect(page.locator(".note", has_text="Next in")).to_have_count(1)
    expect(page.locator("#running .note")).to_have_count(0)
    page.get_by_label("Filter jobs by name or id").fill(work.id)
    expect(page.locator("#running-count")).to_have_text("1 of 2")
    page.get_by_label("Filter jobs by name or id").fill(ended[0].id)
    expect(page.locator("#none-shown")).to_have_text("No job on this page matches the filter.")
    page.get_by_label("Filter jobs by name or id").fill("")
    for listed in (200, 203):
        page.get_by_role("button", name="Show older jobs").click()
        expect(page.locator(".job")).to_have_count(listed)
    expect(page.locator("#more")).to_be_hidden()
    expect(card(page, ended[0])).to_have_attribute("data-state", "succeeded")
    stack.bridge.cancel(work.id)
    (tmp_path / "end").touch()
    expect(page.locator("#ended-count")).to_have_text("203")
    assert counts(page) == {"ended": "203"}


def test_a_log_is_searched_as_a_whole(open_page, stack, owner):
    job = run(stack, owner, "support.talk", 550)
    page = open_page()
    card(page, job).locator(".log summary").click()
    lines, nothing = card(page, job).locator(".line"), card(page, job).locator(".nothing")
    # Each number is logged and printed, and the page keeps a thousand lines.
    expect(lines).to_have_count(1000)
    expect(nothing).to_have_text("Older lines were not kept.")
    search = card(page, job).get_by_label("Search the log of talk")
    search.fill("LINE 29")
    expect(lines).to_have_count(10)
    expect(card(page, job).locator("mark").first).to_have_text("line 29")
    search.fill("line 7:")
    expect(nothing).to_have_text("No line that was kept has that: older lines were not kept.")


def test_an_error_and_numbers_are_shown_as_the_task_gave_them(open_page, stack, owner):
    job = run(stack, owner, "support.look_up")
    page = open_page()
    expect(card(page, job).locator(".error")).to_have_text("KeyError: 'customer_id'")
    letter = "error => getComputedStyle(error, '::first-letter').textTransform"
    assert card(page, job).locator(".error").evaluate(letter) == "none"
    expect(card(page, job).locator(".meta")).to_have_text("rate0.001")


def test_a_long_description_takes_one_line_until_it_is_clicked(open_page, stack, owner):
    job = run(stack, owner, "support.show", "words " * 60, 1)
    page = open_page()
    text = card(page, job).locator(".desc").first
    expect(text).to_have_attribute("title", re.compile("^(words ){30}"))
    height = text.bounding_box()["height"]
    assert height < 30
    text.click()
    assert text.bounding_box()["height"] > 2 * height


def test_any_task_that_the_server_allows_is_started_and_run_again(open_page):
    page = open_page()
    start_other(page, "support.add", "[20, 3]")
    first = page.locator(".job").first
    expect(first.locator(".result")).to_have_text("23")
    page.reload()  # what this tab has started, it can start again
    page.get_by_role("button", name="Run add again").click()
    expect(page.locator("#ended .job")).to_have_count(2)
    assert page.locator(".result").all_text_contents() == ["23", "23"]


@pytest.mark.parametrize("args", ["[1", '{"a": 1}', "1"])
def test_arguments_that_are_no_list_get_one_sentence(open_page, args):
    page = open_page()
    start_other(page, "support.add", args)
    text = 'Arguments must be JSON such as ["/data", 3].'
    expect(page.locator("#start-message")).to_have_text(text)
    expect(page.locator(".job")).to_have_count(0)


def test_a_task_leads_to_where_flower_shows_it(open_page, stack, owner):
    job = run(stack, owner, "support.add", 1, 2)
    page = open_page()
    link = card(page, job).locator("a.id")
    expect(link).to_have_attribute("href", f"{FLOWER}/task/{job.id}")
    assert stack.bridge.app.AsyncResult(job.id).state == "SUCCESS"


def test_a_job_that_moves_has_a_plot_of_its_speed(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.work", [5.0], owner=owner)
    plot = card(page, job).get_by_role("img")
    expect(plot).to_be_visible()
    assert "throughput, up to " in plot.get_attribute("aria-label")


def test_a_chord_lists_its_tasks_and_ends_with_its_body(open_page, stack, owner):
    page = open_page()
    one = signature("support.work", args=[1], immutable=True)
    body = signature("support.add", args=[1, 2], immutable=True)
    title = "Sums of <b>May</b>"
    job = stack.bridge.enqueue(chord([one, one, one], body), owner=owner, title=title)
    expect(card(page, job).locator(".name")).to_have_text(title)
    card(page, job).get_by_text("Tasks (").click()
    expect(card(page, job)).to_have_attribute("data-state", "succeeded")
    rows = card(page, job).locator(".task-list li")
    expect(rows.filter(has_text="succeeded")).to_have_count(4)
    expect(card(page, job).locator(".tasks-title")).to_have_text("Tasks (4 of 4 done)")


def test_a_reload_in_mid_job_goes_on_where_it_was(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.work", [6.0], owner=owner)
    bar = card(page, job).get_by_role("progressbar", name="work")
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > 50, 30, "the bar to move")
    before = int(bar.get_attribute("aria-valuenow"))
    page.reload()
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) >= before, 30, "the bar to be back")
    expect(card(page, job)).to_have_attribute("data-state", "succeeded")


def test_a_server_that_was_killed_and_is_back_has_missed_nothing(
    page, new_stack, rabbitmq, owner, tmp_path
):
    stack = new_stack(rabbitmq.new_vhost())
    server = stack.start_server()
    stack.start_worker()
    page.goto(f"{stack.url}/#token={stack.token(owner=owner)}")
    expect(page.locator("#connection")).to_have_text("Live")
    end = tmp_path / "end"  # of the job, which is not over before the server is back
    job = stack.bridge.enqueue("support.counts", [400, str(end)], owner=owner)
    expect(card(page, job)).to_have_attribute("data-state", "running")
    card(page, job).locator(".log summary").click()
    expect(card(page, job).locator(".line").nth(20)).to_be_attached()
    server.kill()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    stack.start_server()
    expect(page.locator("#connection")).to_have_text("Live, nothing missed")
    end.touch()
    expect(card(page, job)).to_have_attribute("data-state", "succeeded")
    lines = card(page, job).locator(".line .text").all_text_contents()
    assert lines == [f"line {number}" for number in range(400)]


def test_a_server_without_its_past_is_said_to_have_left_a_gap(new_stack, page, owner):
    stack = new_stack()  # the embedded broker keeps nothing for a server that was away
    server = stack.start_server()
    stack.start_worker()
    page.goto(f"{stack.url}/#token={stack.token(owner=owner)}")
    expect(page.locator("#connection")).to_have_text("Live")
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    expect(card(page, job)).to_have_attribute("data-state", "running")
    server.kill()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    stack.start_server()
    expect(page.locator("#connection")).to_have_text("Live, with a gap")
    expect(page.locator("#banner")).to_contain_text("some lines of a log may have been missed")
    stack.bridge.cancel(job.id)


def test_a_link_to_a_job_brings_it_into_view_among_many(page, stack, owner):
    jobs = [run(stack, owner, "support.add", number, 1) for number in range(30)]
    first = jobs[0]
    token = stack.token(owner=owner, scope=EVERYTHING)
    page.goto(f"{stack.url}/#token={token}&job={first.id}")
    expect(card(page, first)).to_be_in_viewport()
    assert page.url == f"{stack.url}/#job={first.id}"
    expect(card(page, jobs[-1])).not_to_be_in_viewport()
    page.evaluate("job => { location.hash = `job=${job}` }", jobs[-1].id)
    expect(card(page, jobs[-1])).to_be_in_viewport()


def test_a_link_to_a_job_of_somebody_else_says_so(page, stack, owner):
    other = run(stack, uuid.uuid4().hex, "support.add", 1, 1)
    page.goto(f"{stack.url}/#token={stack.token(owner=owner)}&job={other.id}")
    expect(page.locator("#banner")).to_contain_text("job")
    expect(card(page, other)).to_have_count(0)
