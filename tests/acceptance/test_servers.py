"""The server beside an application, under gunicorn with threads and with gevent."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

import pytest
import socketio
from playwright.sync_api import expect

from bridge.errors import JobNotFound
from support.event_stream import EventStreamClient
from support.link import Link
from support.ports import free_port
from support.stack import Stack
from support.wait import until


@pytest.fixture(scope="module", params=["threading", "gevent"])
def stack(rabbitmq, tmp_path_factory, request):
    """An application with its server below ``/taskbridge``, and a worker."""
    kind = {"threading": ["gthread", "--threads=50"], "gevent": ["gevent"]}[request.param]
    stack = Stack(tmp_path_factory.mktemp("mounted"), rabbitmq.new_vhost())
    stack.env["TASKBRIDGE_URL"] = f"{stack.url}/taskbridge"
    stack.env["TASKBRIDGE_URL_TOKENS"] = "1"
    stack.env["TASKBRIDGE_HEALTH_PORT"] = str(free_port())
    command = ["-m", "gunicorn", "support.mounted:app", f"--bind=127.0.0.1:{stack.port}"]
    try:
        server = stack.start("server", sys.executable, *command, "--worker-class", *kind)
        server.await_output("Listening at")
        stack.start_worker()
        until(lambda: fetch(f"{stack.url}/taskbridge/readyz")["status"] == "ok", 20, "readiness")
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def connect(stack):
    """Connect clients of the application's namespace; all are ended with the test."""
    clients = []

    def connect(namespace="/chat", **options):
        clients.append(socketio.SimpleClient(reconnection=False, handle_sigint=False))
        clients[-1].connect(stack.url, namespace=namespace, transports=["websocket"], **options)
        return clients[-1]

    yield connect
    for client in clients:
        client.disconnect()


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def test_the_application_answers_all_but_what_is_the_servers(stack):
    with urllib.request.urlopen(stack.url, timeout=10) as answer:
        assert answer.read() == b"the application's own page"
    with urllib.request.urlopen(f"{stack.url}/taskbridge/static/client.js", timeout=10) as answer:
        assert b"connect" in answer.read()
    health = f"http://127.0.0.1:{stack.env['TASKBRIDGE_HEALTH_PORT']}"
    with urllib.request.urlopen(f"{health}/metrics", timeout=10) as answer:
        assert b"taskbridge_events_read_total" in answer.read()


def test_a_job_is_watched_from_beginning_to_end_and_asked_for_by_http(stack):
    job = stack.bridge.enqueue("support.talk", [200], owner="me")
    watcher = stack.bridge.watch(job.id, timeout=30)
    lines = [line["message"] for event in watcher for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(200)]
    assert watcher.snapshot.state == stack.bridge.status(job.id)["state"] == "succeeded"
    with pytest.raises(JobNotFound):
        stack.bridge.status("6f1ed002-ab5a-4ae9-ae30-2ce94ff39a2d")


def test_many_clients_at_once_each_see_all_of_their_own_job(stack):
    jobs = [stack.bridge.enqueue("support.talk", [50], owner=f"o{n}") for n in range(12)]
    watchers = [stack.bridge.watch(job.id, timeout=60) for job in jobs]
    for watcher in watchers:
        lines = [line for event in watcher for line in event["data"].get("lines", [])]
        assert len(lines) == 50
        assert watcher.snapshot.state == "succeeded"


def test_a_client_that_is_cut_off_comes_back_and_misses_nothing(stack):
    job = stack.bridge.enqueue("support.counts", [200], owner="me")
    with Link(stack.port) as link:
        bridge = type(stack.bridge)(
            settings=stack.settings.replace(url=f"http://127.0.0.1:{link.port}/taskbridge")
        )
        watcher, lines = bridge.watch(job.id, timeout=30), []
        for event in watcher:
            lines += [line["message"] for line in event["data"].get("lines", [])]
            if len(lines) in range(20, 60):
                link.cut()
    assert lines == [f"line {number}" for number in range(200)]
    assert watcher.recovered


def test_a_job_is_streamed_as_server_sent_events_until_its_end(stack):
    job = stack.bridge.enqueue("support.talk", [200], owner="me")
    path = f"/taskbridge/api/jobs/{job.id}/events"
    client = EventStreamClient(stack.port, path, token=job.token)
    told = list(client)
    lines = [line["message"] for one in told for line in one.data.get("data", {}).get("lines", [])]
    assert lines == [f"line {number}" for number in range(200)]
    assert (told[0].event, told[-1].event) == ("snapshot", "end")
    assert told[-1].data == {"state": "succeeded"}
    assert client.statuses == [200, 204], "a client that knows the end is told not to come back"


def test_a_running_job_is_cancelled_by_a_client(stack, connect):
    job = stack.bridge.enqueue("support.work", [60], owner="me")
    client = connect("/jobs", auth={"token": job.token})
    assert client.call("watch", {"job": job.id})["ok"]
    assert client.call("cancel", {"job": job.id})["ok"]
    until(lambda: stack.bridge.status(job.id)["state"] == "cancelled", 20, "the end")


def test_a_client_without_a_token_is_refused(stack, connect):
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect("/jobs", auth={"token": "forged"})


def test_a_message_that_is_too_large_ends_the_connection(stack, connect):
    client = connect("/jobs", auth={"token": stack.token(owner="me")})
    with pytest.raises((socketio.exceptions.SocketIOError, OSError)):
        client.call("watch", {"job": "j" * 300_000}, timeout=5)
    assert connect().receive(timeout=10)[0] == "welcome"


def test_an_application_has_a_namespace_of_its_own_to_which_any_process_pushes(stack, connect):
    one, other = connect(), connect()
    mine, _ = one.receive(timeout=10)[1], other.receive(timeout=10)
    assert one.call("shout", "hello") == 5
    assert other.receive(timeout=10) == ["shouted", "hello"]
    stack.bridge.push("news", {"n": 1}, room="lobby", namespace="/chat", skip=mine)
    stack.bridge.push("news", {"n": 2}, everyone=True, namespace="/chat")
    assert other.receive(timeout=10) == ["news", {"n": 1}]
    assert other.receive(timeout=10) == ["news", {"n": 2}]
    assert one.receive(timeout=10) == ["news", {"n": 2}], "the first was not for it"


def test_a_push_to_a_job_skips_one_watcher(stack, connect):
    job = stack.bridge.enqueue("support.work", [5], owner="me")
    one, other = (connect("/jobs", auth={"token": job.token}) for _ in range(2))
    for client in (one, other):
        assert client.call("watch", {"job": job.id})["ok"]
    stack.bridge.push("note", {"n": 1}, job=job.id, skip=one.sid)
    stack.bridge.push("note", {"n": 2}, job=job.id)
    heard = {name: [] for name in ("one", "other")}
    for name, client in (("one", one), ("other", other)):
        while {"n": 2} not in heard[name]:
            event, data = client.receive(timeout=10)
            heard[name] += [data] if event == "note" else []
    assert heard == {"one": [{"n": 2}], "other": [{"n": 1}, {"n": 2}]}


def test_the_script_of_celery_progress_shows_a_job_until_its_page_has_moved(stack, page):
    job = stack.bridge.enqueue("support.work", [4], owner="me")
    page.goto(f"{stack.url}/progress?job={job.id}&token={job.token}")
    message = page.locator("#progress-bar-message")
    expect(message).to_contain_text("of 400 processed. work")
    expect(message).to_contain_text("Success!")
    failing = stack.bridge.enqueue("support.fail", owner="me")
    page.goto(f"{stack.url}/progress?job={failing.id}&token={failing.token}")
    expect(message).to_contain_text("Uh-Oh, something went wrong!")
    assert fetch(f"{stack.url}/taskbridge/api/progress/{job.id}")["error"]["code"] == "unauthorized"


def test_the_page_works_below_the_prefix(stack, page):
    job = stack.bridge.enqueue("support.add", [1, 2], owner="paths")
    page.goto(f"{stack.url}/taskbridge/#token={stack.token(owner='paths')}")
    expect(page.locator("#connection")).to_have_text("Live")
    card = page.locator(f'.job[data-job="{job.id}"]')
    expect(card.get_by_text("succeeded")).to_be_visible()
