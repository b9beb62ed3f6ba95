"""``<job-progress>`` on a plain page that a Flask application of another origin serves."""

from __future__ import annotations

import re
import threading
import time
import uuid

import pytest
from flask import Flask, Response, request
from playwright.sync_api import expect
from werkzeug.serving import make_server

from bridge.notebook import JobWidget
from bridge.notebook.job_widget import SCRIPT
from support import frames
from support.axe import violations
from support.ports import free_port
from support.stack import Stack
from support.wait import until

PAGE = """<!doctype html>
<html lang="en" dir="{dir}"><head><meta charset="utf-8"><title>An application</title>
<script type="module" src="{server}/static/job-progress.js"></script></head>
<body><main><h1>Your import</h1><job-progress job="{job}" token="{token}"></job-progress></main>
</body></html>"""
#: A page that shows a widget, as a host of anywidget does: with a model of the widget's state.
NOTEBOOK = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A notebook</title></head>
<body><main><h1>A notebook</h1><div id="output"></div></main>
<script type="module">
import widget from "/widget.js";
const state = await (await fetch("/state.json")).json();
const model = { get: (name) => state[name] };
window.end = await widget.render({ model, el: document.getElementById("output") });
</script></body></html>"""


@pytest.fixture(scope="module")
def origin():
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory, origin):
    """A server that lets pages of the application's origin in."""
    folder = tmp_path_factory.mktemp("element")
    settings = {"TASKBRIDGE_ORIGINS": origin, "TASKBRIDGE_TOKEN_LEEWAY": "0.1"}
    stack = Stack(folder, rabbitmq.new_vhost(), **settings)
    try:
        stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def widgets():
    """The widgets of the application's notebook, which shows the last one."""
    return []


@pytest.fixture(scope="module")
def application(stack, origin, widgets):
    """A Flask application: a page that shows what its query names, and one that is a notebook."""
    flask = Flask("application")

    @flask.get("/")
    def index():
        told = {name: request.args.get(name, "") for name in ("job", "token")}
        return PAGE.format(server=stack.url, dir=request.args.get("dir", "ltr"), **told)

    flask.get("/notebook", endpoint="notebook")(lambda: NOTEBOOK)
    flask.get("/widget.js", endpoint="script")(lambda: Response(SCRIPT, mimetype="text/javascript"))
    flask.get("/state.json", endpoint="state")(lambda: widgets[-1].get_state())
    flask.get("/favicon.ico")(lambda: ("", 204))
    server = make_server("127.0.0.1", int(origin.rpartition(":")[2]), flask, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield origin
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shown(page, stack, application):
    """Enqueue a job and open the application's page about it."""

    def shown(task, *args, scope="watch cancel", ttl=900, **query):
        job = stack.bridge.enqueue(task, list(args), owner=uuid.uuid4().hex)
        told = {"job": job.id, "token": stack.token(jobs=[job.id], scope=scope, ttl=ttl), **query}
        page.goto(f"{application}/?" + "&".join(f"{key}={value}" for key, value in told.items()))
        return job, page.locator("job-progress")

    return shown


def test_one_tag_and_one_element_show_a_job_to_its_end(shown):
    _, element = shown("support.work", 2.0)
    bar = element.get_by_role("progressbar", name="work")
    expect(bar).to_have_attribute("aria-valuemax", "200")
    expect(element.locator("[part=state]")).to_have_text("succeeded")
    expect(bar).to_have_attribute("aria-valuenow", "200")
    expect(element.get_by_role("status")).to_have_text("work succeeded")
    assert frames.was_right("WatchRequest"), "what Chromium sends is compared with the schema"


@pytest.mark.parametrize("task", ["support.work", "support.fail"])
def test_axe_finds_no_violation_on_its_page(shown, page, task):
    _, element = shown(task, *([60.0] if task == "support.work" else []))
    state = "running" if task == "support.work" else "failed"
    expect(element.locator("[part=state]")).to_have_text(state)
    assert violations(page) == []


def test_its_button_cancels_the_job(shown):
    _, element = shown("support.work", 60.0)
    element.get_by_role("button", name="Cancel work").click()
    expect(element.locator("[part=state]")).to_have_text("cancelled")
    expect(element.get_by_role("button")).to_have_count(0)


def test_it_outlasts_its_token_a_restart_of_the_server_and_a_reload_of_its_page(shown, page, stack):
    _, element = shown("support.work", 120.0, ttl=15)
    ends = time.monotonic() + 16
    state, bar = element.locator("[part=state]"), element.get_by_role("progressbar", name="work")

    def moves():
        before = int(bar.get_attribute("aria-valuenow"))
        until(lambda: int(bar.get_attribute("aria-valuenow")) > before, 20, "the bar to move")

    expect(state).to_have_text("running")
    until(lambda: time.monotonic() > ends, 30, "the end of the token")
    moves()
    # On a busy machine, a restart may take longer than the token lasts.
    restart_server(stack, TASKBRIDGE_TOKEN_LEEWAY="60")
    expect(state).to_have_text("running")
    moves()
    page.reload()
    expect(state).to_have_text("running")
    moves()
    element.get_by_role("button", name="Cancel work").click()
    expect(state).to_have_text("cancelled")
    server = restart_server(stack)
    refused = 'refuse request="connect" code="unauthorized"'
    until(lambda: refused in server.output, 40, "the end of the last token")
    expect(state).to_have_text("cancelled")
    expect(element.locator("[part=error]")).to_have_count(0)


def restart_server(stack, **variables):
    """Kill the server and start another one, with settings of its own."""
    for server in stack.servers:
        server.kill()
    return stack.start_server(**variables)


def test_a_token_that_may_only_watch_is_offered_no_button(shown):
    _, element = shown("support.work", 2.0, scope="watch")
    expect(element.locator("[part=state]")).to_have_text("running")
    expect(element.get_by_role("button")).to_have_count(0)


def test_a_failed_job_says_why(shown):
    _, element = shown("support.fail")
    expect(element.locator("[part=error]")).to_have_text("ValueError: this was bound to fail")


def test_its_steps_are_shown_with_their_bars(shown, page):
    _, element = shown("support.steps", 3)
    outer = element.locator(".steps").first.locator("> .step")
    expect(outer.nth(0)).to_contain_text("download")
    expect(outer.nth(1)).to_contain_text("check")
    expect(outer.nth(1)).to_have_attribute("data-state", "failed")
    outer.nth(0).locator("summary").first.click()
    expect(outer.nth(0).get_by_role("progressbar", name="rows")).to_be_visible()
    assert violations(page) == []


def test_the_last_lines_of_its_log_are_shown(shown):
    _, element = shown("support.talk", 20)
    expect(element.locator("[part=log] li")).to_have_count(3)
    expect(element.locator("[part=log] li").last).to_contain_text("19")


def test_where_text_runs_from_right_to_left_so_does_the_bar(shown):
    _, element = shown("support.work", 4.0, dir="rtl")
    fill = element.locator("[part=fill]")
    expect(fill).to_have_attribute("style", re.compile(r"--share: 0\.[1-8]"))
    moved = "fill => new DOMMatrix(getComputedStyle(fill).transform).e"
    assert fill.evaluate(moved) > 0


def test_it_keeps_to_the_colours_of_the_page(shown, page, stack):
    job, element = shown("support.work", 60.0)  # an ended job has a colour of its own
    page.add_style_tag(content="job-progress { --job-progress-accent: rgb(1, 2, 3) }")
    colour = "fill => getComputedStyle(fill).backgroundColor"
    expect(element.locator("[part=fill]")).to_be_attached()
    assert element.locator("[part=fill]").evaluate(colour) == "rgb(1, 2, 3)"
    stack.bridge.cancel(job.id)


def test_a_page_of_an_origin_that_the_server_does_not_know_is_not_let_in(page, stack, application):
    job = stack.bridge.enqueue("support.work", [1.0], owner="me")
    elsewhere = application.replace("127.0.0.1", "localhost")
    page.goto(f"{elsewhere}/?job={job.id}&token={stack.token(jobs=[job.id])}")
    told = f"list {elsewhere} in TASKBRIDGE_ORIGINS of the server"
    expect(page.locator("job-progress [part=error]")).to_contain_text(told)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    [server] = stack.servers
    until(lambda: told in server.output, 20, "the server's log to say so")


def test_the_server_s_own_page_is_let_in_beside_the_listed_origins(page, stack):
    page.goto(f"{stack.url}/#token={stack.token(owner='me')}")
    expect(page.locator("#connection")).to_have_text("Live")


def test_a_widget_shows_a_job_in_a_notebook_and_cancels_it(page, stack, application, widgets):
    job = stack.bridge.enqueue("support.work", [60.0], owner="me")
    widgets.append(JobWidget(job, label="my export", lines=1))
    page.goto(f"{application}/notebook")
    element = page.locator("#output job-progress")
    expect(element.locator("[part=name]")).to_have_text("my export")
    expect(element.get_by_role("progressbar", name="work")).to_be_visible()
    element.get_by_role("button", name="Cancel my export").click()
    expect(element.locator("[part=state]")).to_have_text("cancelled")
    page.evaluate("window.end()")
    expect(page.locator("job-progress")).to_have_count(0)


def test_a_widget_whose_server_cannot_be_reached_says_where_it_was_looked_for(
    browser, stack, application, widgets
):
    url = f"http://127.0.0.1:{free_port()}"
    widgets.append(JobWidget("a-job", bridge=stack.bridge, url=f"{url}/"))
    context = browser.new_context()  # the browser reports the refused connection itself
    try:
        page = context.new_page()
        page.goto(f"{application}/notebook")
        told = f"This browser cannot reach the taskbridge server at {url}."
        expect(page.locator("#output")).to_have_text(told)
    finally:
        context.close()
