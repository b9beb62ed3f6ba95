"""The web page in a real Chromium, against real processes over each broker."""

from __future__ import annotations

import re
import uuid

import pytest
from PIL import Image
from playwright.sync_api import expect

from support.wait import until

EVERYTHING = "watch cancel enqueue"


@pytest.fixture
def owner():
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def open_page(page, stack, owner):
    """Open the page with a token and wait until it is connected."""

    def open_page(scope=EVERYTHING):
        page.goto(f"{stack.url}/#token={stack.token(owner=owner, scope=scope)}")
        expect(page.locator("#connection")).to_have_text("Live")
        return page

    return open_page


def card(page, job):
    """Return the part of the page that shows a job."""
    return page.locator(f'.job[data-job="{job.id}"]')


def expect_state(card, state):
    expect(card).to_have_attribute("data-state", state)


def start(page, kind, **fields):
    """Fill in the form of one kind of job and press its button."""
    page.get_by_text(kind, exact=True).click()
    for name, value in fields.items():
        page.locator(f".fields:enabled [name={name}]").fill(str(value))
    page.get_by_role("button", name="Start").click()


def test_a_job_enqueued_elsewhere_appears_and_its_bar_moves_to_the_end(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.work", [6.0], owner=owner)
    bar = card(page, job).get_by_role("progressbar", name="work")
    expect(bar).to_have_attribute("aria-valuemax", "600")
    seen = set()

    def moved():
        seen.add(int(bar.get_attribute("aria-valuenow")))
        return 600 in seen

    until(moved, 30, "the bar to be full")
    assert len(seen) >= 5
    expect_state(card(page, job), "succeeded")
    expect(bar).to_have_attribute("aria-valuetext", "100% · 600 / 600")
    expect(page.locator("#ended .job")).to_have_count(1)


def test_the_bar_of_a_second_attempt_goes_on_and_says_from_where(open_page, stack, owner, tmp_path):
    page = open_page()
    arguments = [str(tmp_path / "rows"), 40, 0.1, "retry"]
    job = stack.bridge.enqueue("support.resume", arguments, owner=owner)
    shown = card(page, job)
    expect(shown.locator(".note")).to_have_text(re.compile(r"^Saved \d\d:\d\d:\d\d\.$"))
    expect(shown.locator(".badge")).to_have_text("running, attempt 2, from 50%")
    bar = shown.get_by_role("progressbar", name="rows")
    assert int(bar.get_attribute("aria-valuenow")) >= 20
    expect_state(shown, "succeeded")
    expect(bar).to_have_attribute("aria-valuetext", "100% · 40 / 40")
    expect(shown.locator(".note")).to_have_count(0)


def test_the_form_starts_a_checksum_and_shows_its_result(open_page, stack, owner, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    page = open_page()
    start(page, "Checksum", path=folder, output="manifest")
    job = page.locator(".job")
    expect_state(job, "succeeded")
    expect(job.locator(".facts")).to_contain_text(re.compile(r"files\s*3"))
    manifest = stack.output / owner / job.get_attribute("data-job") / "manifest"
    expect(job.locator(".facts")).to_contain_text(str(manifest))
    assert len(manifest.read_text().splitlines()) == 3


def test_a_job_of_many_tasks_has_one_bar_over_all(open_page, tmp_path):
    for number in range(5):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{number}.png")
    page = open_page()
    start(page, "Thumbnails", folder=tmp_path, output="small", size=16)
    expect_state(page.locator(".job"), "succeeded")
    bar = page.get_by_role("progressbar", name="tasks")
    expect(bar).to_have_count(1)
    assert bar.get_attribute("aria-valuenow") == bar.get_attribute("aria-valuemax")
    expect(page.locator(".facts")).to_contain_text(re.compile(r"thumbnails\s*5"))


def test_a_folder_that_is_not_there_shows_an_error(open_page, tmp_path):
    page = open_page()
    start(page, "Checksum", path=tmp_path / "nowhere")
    expect_state(page.locator(".job"), "failed")
    expect(page.locator(".job .error")).to_contain_text(str(tmp_path / "nowhere"))
    expect(page.locator(".job .error")).not_to_contain_text("Traceback")


def test_only_kinds_of_jobs_that_the_server_allows_are_offered_and_a_refusal_is_shown(
    page, new_stack
):
    stack = new_stack(TASKBRIDGE_TASKS="support.*")
    stack.start_server()
    page.goto(f"{stack.url}/#token={stack.token(owner='ann', scope=EVERYTHING)}")
    expect(page.get_by_label("Task", exact=True)).to_be_visible()
    for kind in ("Checksum", "Import CSV", "Thumbnails"):
        expect(page.get_by_text(kind, exact=True)).to_be_hidden()
    start(page, "Other task", name="workers.jobs.checksum")
    expect(page.locator("#start-message")).to_contain_text("workers.jobs.checksum")
    expect(page.locator(".job")).to_have_count(0)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


def test_a_server_that_lets_clients_start_nothing_says_how_to_change_that(new_stack, page):
    stack = new_stack(TASKBRIDGE_TASKS="")
    stack.start_server()
    page.goto(f"{stack.url}/#token={stack.token(owner='ann', scope=EVERYTHING)}")
    expect(page.locator("#no-tasks")).to_contain_text("set TASKBRIDGE_TASKS to the names of")
    expect(page.get_by_role("button", name="Start")).to_have_count(0)


def test_an_owner_does_not_see_the_job_of_another(open_page, stack, owner):
    page = open_page()
    other = stack.bridge.enqueue("support.add", [1, 1], owner=f"not-{owner}")
    list(stack.bridge.watch(other.id))
    mine = stack.bridge.enqueue("support.add", [2, 2], owner=owner)
    expect_state(card(page, mine), "succeeded")
    expect(page.locator(".job")).to_have_count(1)
    page.reload()
    expect(page.locator(".job")).to_have_count(1)
    expect(card(page, mine)).to_be_visible()


def test_a_reload_keeps_the_token_and_the_list(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.add", [1, 2], owner=owner)
    expect_state(card(page, job), "succeeded")
    assert page.url == f"{stack.url}/"
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    expect_state(card(page, job), "succeeded")
    expect(card(page, job).locator(".result")).to_have_text("3")


def test_a_log_written_before_the_page_was_opened_is_shown(open_page, stack, owner):
    job = stack.bridge.enqueue("support.talk", [5], owner=owner)
    list(stack.bridge.watch(job.id))
    page = open_page()
    card(page, job).locator(".log summary").click()
    for number in range(5):
        expect(card(page, job).get_by_role("log")).to_contain_text(f"line {number}")


def test_an_open_log_follows_its_last_lines(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.talk", [200], owner=owner)
    expect_state(card(page, job), "succeeded")
    expect(card(page, job).locator(".last")).not_to_be_empty()
    card(page, job).locator(".log summary").click()
    lines = card(page, job).locator(".line")
    expect(lines).to_have_count(400)  # each number is logged and printed
    expect(lines.filter(has_text="199")).not_to_have_count(0)
    box = card(page, job).get_by_role("log")
    assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 12


def test_markup_in_names_and_logs_is_shown_as_text(open_page, tmp_path):
    name = "<img src=x onerror=document.title='run'>"
    (tmp_path / name).write_text("x")
    page = open_page()
    start(page, "Checksum", path=tmp_path)
    expect_state(page.locator(".job"), "succeeded")
    page.locator(".job .log summary").click()
    expect(page.get_by_role("log")).to_contain_text(name)
    expect(page.locator(".job .postfix").last).to_have_text(name)
    expect(page.locator(".job img")).to_have_count(0)
    assert page.title() != "run"


def test_cancel_ends_a_running_job(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    expect_state(card(page, job), "running")
    card(page, job).get_by_role("button", name="Cancel work").click()
    expect_state(card(page, job), "cancelled")
    expect(card(page, job).get_by_role("button")).to_be_hidden()


def test_what_the_token_does_not_allow_is_not_offered(open_page, stack, owner):
    page = open_page("watch")
    job = stack.bridge.enqueue("support.work", [1.0], owner=owner)
    expect_state(card(page, job), "running")
    expect(card(page, job).get_by_role("button")).to_be_hidden()
    expect(page.locator("#start")).to_be_hidden()


def test_a_token_of_one_job_shows_that_job(page, stack, owner):
    job = stack.bridge.enqueue("support.work", [1.0], owner=owner)
    page.goto(f"{stack.url}/#token={job.token}")
    expect_state(card(page, job), "succeeded")


def test_without_a_token_one_sentence_says_how_to_get_one(page, stack):
    page.goto(stack.url)
    expect(page.locator("#no-token")).to_contain_text("taskbridge token --owner you")
    expect(page.locator("#start")).to_be_hidden()


@pytest.mark.parametrize("kind", ["expired", "forged"])
def test_a_refused_token_shows_one_sentence(page, stack, owner, kind):
    token = stack.token(owner=owner, scope=EVERYTHING, ttl=0.001) if kind == "expired" else "a.b.c"
    page.goto(f"{stack.url}/#token={token}")
    expect(page.locator("#connection")).to_have_text("Refused")
    expect(page.locator(".banner:visible")).to_have_count(1)
    expect(page.locator("#banner")).to_contain_text("expired" if kind == "expired" else "not valid")


def test_a_token_that_expires_while_the_page_is_open_ends_it_with_a_sentence(page, stack, owner):
    page.goto(f"{stack.url}/#token={stack.token(owner=owner, ttl=3)}")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#connection")).to_have_text("Refused")
    expect(page.locator("#banner")).to_contain_text("expired")


def test_another_token_in_the_address_bar_takes_over(open_page, stack, owner):
    page = open_page()
    job = stack.bridge.enqueue("support.add", [1, 2], owner=owner)
    expect_state(card(page, job), "succeeded")
    other = f"other-{owner}"
    page.goto(f"{stack.url}/#token={stack.token(owner=other, scope='watch')}")
    expect(page.locator("#owner")).to_have_text(other)
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator(".job")).to_have_count(0)


def test_the_page_comes_back_when_its_server_does(new_stack, page):
    stack = new_stack()
    server = stack.start_server()
    page.goto(f"{stack.url}/#token={stack.token(owner='ann')}")
    expect(page.locator("#connection")).to_have_text("Live")
    server.stop()
    expect(page.locator("#connection")).to_have_text("Reconnecting…")
    stack.start_server()
    expect(page.locator("#connection")).to_have_text("Live")
    job = stack.bridge.enqueue("support.add", [1, 2], owner="ann")
    expect_state(card(page, job), "queued")


def test_nothing_sticks_out_on_a_phone(open_page, stack, owner):
    page = open_page()
    page.set_viewport_size({"width": 360, "height": 700})
    job = stack.bridge.enqueue("support.work", [1.0], owner=owner)
    expect_state(card(page, job), "succeeded")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_steps_are_nested_with_their_states_durations_and_bars(open_page, stack, owner, tmp_path):
    page, end = open_page(), tmp_path / "end"
    job = stack.bridge.enqueue("support.steps", [3, str(end)], owner=owner)
    shown = card(page, job)
    outer = shown.locator(".steps").first.locator("> .step")
    expect(outer.locator(".step-name").filter(has_text="check")).to_be_visible()
    expect(outer).to_have_count(2)
    expect(outer.nth(0).get_by_role("img", name="succeeded").first).to_be_visible()
    expect(outer.nth(1)).to_have_attribute("data-state", "running")
    expect(outer.nth(1).locator(".step .step-name")).to_have_text("left open")
    took = outer.nth(0).locator(".step-took").first
    expect(took).to_have_text(re.compile(r"^(under )?\d+\.\d s$"))
    expect(outer.nth(0).locator(".step").first).to_be_hidden()
    outer.nth(0).locator("summary").first.click()
    expect(outer.nth(0).get_by_role("progressbar", name="rows")).to_be_visible()
    expect(outer.nth(0).locator(".step")).to_have_count(3)
    end.touch()
    expect_state(shown, "failed")
    expect(outer.nth(1).locator(".step-took").first).to_have_text(re.compile(r"^failed · "))
    shown.locator("h3 a").click()
    expect(page.locator("#job-about .steps").first.locator("> .step")).to_have_count(2)
