"""The history and the pages of single jobs, in a real Chromium, with an archive."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bridge.cli.request import request
from support.archive import ArchiveStack, Flood, event, new_database, publishing
from support.wait import until
from support.webhook_receiver import Receiver

JOBS = 230
HOSTILE = "<img src=x onerror=alert(1)> & \u202esmuggled"


@pytest.fixture(scope="module")
def receiver():
    """What the archive delivers to, once it is up."""
    return Receiver()


@pytest.fixture(scope="module")
def stack(request, rabbitmq, tmp_path_factory, receiver):
    """A server that forgets ended jobs within seconds, and an archive that has them."""
    folder = tmp_path_factory.mktemp("history") / "stack"
    url = new_database("sqlite", request)
    given = {"TASKBRIDGE_RETENTION": "2", **receiver.variables}
    stack = ArchiveStack(folder, rabbitmq.new_vhost(), url, **given)
    try:
        stack.start_archive()
        stack.start_server()
        with publishing(stack.settings) as scribe:
            Flood(scribe, jobs=JOBS, lines=2).run()
            fail(scribe)
            stack.await_position(scribe.published)
        yield stack
    finally:
        stack.stop()


def fail(scribe):
    """Publish a job that fails, with a title that is no good."""
    scribe.send(event("bad", "queued", 0, total=1, title=HOSTILE, name="app.charge"))
    scribe.send(event("bad", "started", 0, attempt=1, name="app.charge"))
    error = {"class": "KeyError", "message": "'customer_id'\nsecond line"}
    scribe.send(event("bad", "failed", 1, error=error, name="app.charge"))


@pytest.fixture
def open_page(page, stack):
    """Open an address of the page with a token of the owner, and wait until it is connected."""

    def open_page(address, **claims):
        token = stack.token(**{"owner": "somebody", "scope": "watch cancel", **claims})
        page.goto(f"{stack.url}/#{address}{'&' if '?' in address else '?'}token={token}")
        expect(page.locator("#connection")).to_have_text("Live")
        return page

    return open_page


def rows(page):
    return page.locator(".found")


def test_the_history_is_scrolled_without_end_and_is_where_it_was_after_a_visit_to_a_job(open_page):
    page = open_page("/history")
    status, first = page.locator("#found-status"), rows(page).first
    expect(status).to_contain_text("so far")
    first.get_by_role("link").focus()
    until(lambda: reached(page) == JOBS, 60, "the last job")
    expect(status).to_have_text(f"{JOBS + 1} jobs")
    assert rows(page).count() < 80  # those in sight, and some more
    last = page.locator(f'.found[data-index="{JOBS}"]')
    expect(last).to_be_in_viewport()
    expect(last).to_have_attribute("aria-setsize", str(JOBS + 1))
    before = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/jobs/job-\d+$"))
    expect(page.locator("#job-page .badge").first).to_have_text("succeeded")
    assert page.title().endswith("succeeded · taskbridge")
    page.go_back()
    expect(last).to_be_in_viewport()
    assert page.evaluate("scrollY") == before


def reached(page):
    """Press End, and return the index of the row that has the focus."""
    page.keyboard.press("End")
    return int(page.evaluate("document.activeElement.closest('.found')?.dataset.index ?? -1"))


def test_a_search_is_in_the_address_and_holds_for_a_reload_and_the_back_button(open_page, stack):
    page = open_page("/history?state=failed&text=customer_id")
    state = page.get_by_role("combobox", name="State")
    expect(rows(page)).to_have_count(1)
    assert page.url == f"{stack.url}/#/history?state=failed&text=customer_id"
    # What a task says of itself is text.
    expect(rows(page).locator(".name")).to_have_text("<img src=x onerror=alert(1)> & smuggled")
    expect(rows(page).locator(".why")).to_have_text("KeyError: 'customer_id' second line")
    page.reload()
    expect(rows(page)).to_have_count(1)
    state.select_option("cancelled")
    expect(page.locator("#found-status")).to_have_text("No job matches the search.")
    page.go_back()
    expect(rows(page)).to_have_count(1)
    expect(state).to_have_value("failed")
    state.select_option("")
    page.get_by_label("Words", exact=True).fill("line 1 of job 17")
    expect(rows(page).locator(".name")).to_have_attribute("href", "#/jobs/job-17")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#found-status")).to_contain_text("so far")
    assert page.url == f"{stack.url}/#/history"


def test_an_archive_that_is_away_is_said_to_be_and_asked_again(page, open_page):
    def away(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "jobs": [], "archive_away": True})

    page.route("**/api/jobs?*", away)
    open_page("/history?name=app.charge")
    expect(page.locator("#found-away")).to_contain_text("The archive does not answer")
    expect(page.locator("#found-status")).to_have_text("No job matches the search.")
    page.unroute("**/api/jobs?*")
    page.locator("#found-away-retry").click()
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#found-away")).to_be_hidden()


def test_jobs_go_on_in_the_history_and_new_ones_are_offered(open_page, stack):
    with publishing(stack.settings) as scribe:
        scribe.send(event("runs", "queued", 0, total=1, name="app.slow"))
        scribe.send(event("runs", "started", 0, attempt=1, name="app.slow"))
        page = open_page("/history?name=app.slow")
        expect(rows(page).locator(".badge")).to_have_text("running")
        page.wait_for_selector("#running .job", state="attached")
        scribe.send(event("later", "queued", 0, total=1, name="app.slow"))
        page.get_by_role("button", name="1 new job: search again").click()
        expect(rows(page)).to_have_count(2)
        for job in ("runs", "later"):
            scribe.send(event(job, "succeeded", 1, name="app.slow"))
        expect(rows(page).locator(".badge")).to_have_text(["succeeded", "succeeded"])


TASKS = 300


def send_canvas(scribe, job, at):
    """Publish the events of a canvas that runs: each task of it published by the one before ten."""
    tasks = [job, *(f"{job}-{number}" for number in range(1, TASKS))]
    for number, task in enumerate(tasks):
        begun = {"name": f"app.part{number % 3}", "task": task, "at": at + number / 10}
        scribe.send(event(job, "queued", 0, total=TASKS, **begun))
        parent = {"parent": tasks[number // 10]} if number else {}
        scribe.send(event(job, "started", 0, attempt=1, **parent, **begun))
    return tasks


def test_the_tasks_of_a_job_are_a_tree_and_a_timeline_that_go_on(open_page, stack):
    at = time.time() - TASKS / 10
    with publishing(stack.settings) as scribe:
        tasks = send_canvas(scribe, "canvas", at)
        page = open_page("/jobs/canvas")
        tree, items = page.get_by_role("tree"), page.get_by_role("treeitem")
        expect(page.locator("#job-tasks-count")).to_have_text(f"0 of {TASKS} done")
        expect(items.first).to_have_attribute("aria-expanded", "true")
        assert items.count() < 80
        assert edges(page, tree) == {
            task: tasks[number // 10] if number else None for number, task in enumerate(tasks)
        }
        tree.focus()
        for key in ("Home", "ArrowLeft"):
            page.keyboard.press(key)
        expect(items).to_have_count(1)
        expect(items).to_contain_text(f"+ {TASKS - 1}")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#task-facts")).to_contain_text(tasks[1])
        for number, task in enumerate(tasks):
            ended = {"name": "app.part", "task": task, "at": at + number / 10 + 5}
            scribe.send(event("canvas", "failed" if number == 7 else "succeeded", 1, **ended))
    expect(page.locator("#job-tasks-count")).to_have_text(f"{TASKS} of {TASKS} done")
    page.get_by_text("Timeline", exact=True).click()
    options = page.get_by_role("option")
    expect(options.nth(7)).to_have_attribute("data-task", tasks[7])
    expect(options.nth(7)).to_contain_text(re.compile(r"failed\s*5.0 s"))
    bar, line = (options.nth(7).locator(part).bounding_box() for part in (".ran", ".task-line"))
    length = (TASKS - 1) / 10 + 5
    assert abs((bar["x"] - line["x"]) / line["width"] - 0.7 / length) < 0.01
    assert abs(bar["width"] / line["width"] - 5 / length) < 0.01


def edges(page, tree):
    """Scroll through a tree; return the parent of each task, as levels and order show it."""
    found, above = {}, {}
    count = page.evaluate("document.querySelector('#task-rows').getBoundingClientRect().height")
    rows = """box => [...box.querySelectorAll('[role=treeitem]')].map(row =>
      [Number(row.dataset.index), row.dataset.task, Number(row.ariaLevel)])"""
    for top in range(0, int(count) + 1, 300):
        tree.evaluate(
            "(box, top) => new Promise(done => { box.scrollTop = top; setTimeout(done, 60) })", top
        )
        for index, task, level in tree.evaluate(rows):
            above.setdefault(index, (task, level))
    levels = {}
    for _, (task, level) in sorted(above.items()):
        levels[level] = task
        found[task] = levels.get(level - 1)
    return found


def test_the_log_of_a_job_is_followed_searched_and_downloaded(open_page, stack):
    lines = [f"line {number} of <b>talk</b>" for number in range(1500)]

    def log(scribe, first, end):
        for start in range(first, end, 50):
            some = lines[start : start + 50]
            told = [{"at": 1.0, "level": "INFO", "message": one} for one in some]
            scribe.send(event("talk", "log", 1 + start // 50, lines=told))

    with publishing(stack.settings) as scribe:
        scribe.send(event("talk", "queued", 0, total=1))
        scribe.send(event("talk", "started", 0, attempt=1))
        log(scribe, 0, 1000)
        page = open_page("/jobs/talk")
        shown, matches = page.locator(".log-row .text"), page.locator("#log-matches")
        expect(shown.last).to_have_text(lines[999])
        log(scribe, 1000, 1500)
        expect(shown.last).to_have_text(lines[1499])
        assert shown.count() < 100
        page.get_by_label("Search the log").fill("LINE 12")
        expect(matches).to_have_text(re.compile(r"^\d+ of 111 lines$"))
        expect(page.locator("#log-follow")).not_to_be_checked()
        expect(page.locator('[data-reached="true"] mark')).to_have_text("line 12")
        scribe.send(event("talk", "succeeded", 31))
        expect(page.locator("#job-page .badge").first).to_have_text("succeeded")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "work-talk.log"
    assert Path(download.value.path()).read_text() == "".join(f"{one}\n" for one in lines)


def test_a_job_that_the_server_has_forgotten_has_its_page_and_its_log(open_page):
    page = open_page("/jobs/job-3")
    expect(page.locator("#job-page .badge").first).to_have_text("succeeded")
    expect(page.locator(".log-row .text")).to_have_text(["line 0 of job-3", "line 1 of job-3"])


def test_all_that_a_search_finds_runs_again_once_though_the_button_is_pressed_twice(
    open_page, stack, tmp_path
):
    stack.start_worker()
    for number in range(5):
        stack.bridge.enqueue("support.mended", [str(tmp_path), number], owner="ann")
    stack.bridge.enqueue("support.mended", [str(tmp_path), 9], owner="ann", redact=True)
    token = stack.token(owner="ann", scope="watch enqueue")
    asked = {"action": "run_again", "filter": {"state": "failed"}, "preview": True}

    def kept():
        found = request(stack.bridge, "bulk", asked, token)
        return (len(found["jobs"]), len(found["refused"])) == (5, 1)

    until(kept, 60, "all to have failed, and the archive to have how they were called")
    (tmp_path / "mended").touch()
    page = open_page("/history?state=failed", owner="ann", scope="watch enqueue")
    page.get_by_role("button", name="Run all again…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("5 jobs will run again, each once.")
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    dialog.get_by_role("button", name="Run 5 jobs again").dblclick()
    expect(dialog).to_contain_text("5 jobs run again.")
    dialog.get_by_role("button", name="Close").click()
    runs = until(lambda: len(found := list(tmp_path.glob("run-*"))) >= 5 and found, 30, "all runs")
    page.goto(f"{stack.url}/#/history?name=support.mended&state=succeeded")
    expect(rows(page)).to_have_count(5)
    assert sorted(int(one.name.split("-")[1]) for one in runs) == [0, 1, 2, 3, 4]
    rows(page).first.locator(".name").click()
    expect(page.get_by_role("link", name=re.compile("[0-9a-f-]{36}"))).to_be_visible()
    page.get_by_role("button", name="Run again", exact=True).click()
    until(lambda: len(list(tmp_path.glob("run-*"))) == 6, 30, "the sixth run")
    expect(page.locator("#job-page .badge").first).to_have_text("succeeded")


def test_operators_see_which_webhooks_fail_until_they_are_delivered(open_page, stack, receiver):
    with publishing(stack.settings) as scribe:
        scribe.send(event("told", "queued", 0, total=1, webhook="tests"))
        scribe.send(event("told", "succeeded", 0, result=1))
    page = open_page("/history", scope="watch operate")
    failing = page.get_by_role("region", name="Webhooks that fail").get_by_role("listitem")
    said = r"tests job\.succeeded told: \d attempts?, the next one .+: Connection refused"
    expect(failing).to_have_text(re.compile(said))
    failing.get_by_role("link").click()
    one = page.get_by_role("region", name="Webhook").get_by_role("listitem")
    expect(one).to_contain_text("Connection refused")
    with receiver:
        expect(one).to_contain_text("job.succeeded: delivered")
    page.go_back()
    expect(failing).to_have_count(0)
    operator = stack.token(owner="me", scope="watch operate")
    assert stack.ask("/api/deliveries", operator) == (200, {"deliveries": []})
    status, answer = stack.ask("/api/deliveries?job=told", operator)
    assert (status, [one["webhook"] for one in answer["deliveries"]]) == (200, ["tests"])
    assert stack.ask("/api/deliveries?limit=0", operator)[0] == 400
    assert stack.ask("/api/deliveries?job=told", stack.token(owner="somebody"))[0] == 403
