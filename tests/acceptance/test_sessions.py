"""Who has a session of the application that it comes from needs no token."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
import uuid
from contextlib import closing

import pytest
import socketio

from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE
from support.applications import sessions
from support.documents import blocks
from support.link import Link
from support.raw import Raw
from support.wait import until

KEY = "a key of the application's own sessions"


@pytest.fixture
def serve(new_stack, tmp_path):
    """Start a server with a function of ``support.applications.sessions``."""

    def serve(name, mode=None, **more):
        variables = {
            "SESSION_KEY": KEY,
            "SESSION_DATABASE": str(tmp_path / "sessions.sqlite"),
            "TASKBRIDGE_AUTH": f"support.applications.sessions:{name}",
            **more,
        }
        stack = new_stack(**variables)
        stack.mode = mode or stack.mode
        stack.start_server()
        return stack

    return serve


def connect(stack, *cookies, token=None):
    """Return a client that brings cookies, and what it was answered."""
    raw = Raw("127.0.0.1", stack.port, "127.0.0.1")
    assert raw.upgrade(*(f"Cookie: {one}" for one in cookies)).status == 101
    assert raw.message().startswith("0{")
    return raw, raw.connect(token)


def assert_sees_its_jobs(raw, stack, owner):
    job = stack.bridge.enqueue("support.add", [1, 1], owner=owner)
    stack.bridge.enqueue("support.add", [1, 1], owner="somebody else")
    assert raw.ask("watch", {"job": job.id})["snapshot"]["owner"] == owner
    assert {one["owner"] for one in raw.ask("jobs", {})["jobs"]} == {owner}
    assert raw.ask("enqueue", {"name": "support.add"})["error"]["code"] == "forbidden"


@pytest.fixture
def flask_cookie(monkeypatch, tmp_path):
    """Return the cookie of a Flask application's user."""
    monkeypatch.setenv("SESSION_KEY", KEY)
    monkeypatch.setenv("SESSION_DATABASE", str(tmp_path / "sessions.sqlite"))
    return sessions.new_flask_session


def test_a_flask_session_is_enough_until_it_has_ended(serve, flask_cookie):
    stack = serve("flask_session", TASKBRIDGE_SESSION_TTL=str(BOUND))
    cookie = f"session={flask_cookie('ada')}"
    raw, answer = connect(stack, cookie)
    with raw:
        assert answer.startswith("40/jobs,{")
        assert_sees_its_jobs(raw, stack, "ada")
        sessions.end_flask_sessions()
        until(lambda: raw.message().startswith("41/jobs"), BOUND + 2, "the end of the connection")
    raw, answer = connect(stack, cookie)
    with raw:
        assert json.loads(answer[8:])["data"]["code"] == "unauthorized"


def log_in(stack, *users):
    """Return the key of a new Django session of each."""
    new = "from support.applications.sessions import new_django_session as new"
    code = f"{new}; [print(new(user)) for user in {users!r}]"
    made = stack.start("login", sys.executable, "-c", code)
    assert made.wait() == 0
    return made.output.split()


def log_out(stack, key):
    """End a Django session, as its logout does."""
    with closing(sqlite3.connect(stack.env["SESSION_DATABASE"])) as database, database:
        database.execute("delete from django_session where session_key = ?", [key])


class Follower:
    """A plain Socket.IO client with a cookie and no token, that sees all jobs of its owner."""

    def __init__(self, stack, key):
        self.jobs, self.connects = [], 0
        self.client = SocketClient(reconnection=False)
        self.client.on("connect", self._count, namespace=NAMESPACE)
        self.client.on("job", self._take, namespace=NAMESPACE)
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"], "wait_timeout": 20}
        self.client.connect(stack.url, headers={"Cookie": f"sessionid={key}"}, **options)
        assert self.client.call("jobs", {}, namespace=NAMESPACE)["ok"]

    def _count(self):
        self.connects += 1

    def _take(self, event):
        if event["type"] == "queued":
            self.jobs.append(event["job"])

    @property
    def connected(self):
        return NAMESPACE in self.client.namespaces


#: Lines of a job during which a stream is cut twice.
LINES = 600
#: Seconds for which a session's grant holds in these tests.
BOUND = 3.0


@pytest.mark.parametrize(
    "mode",
    ["eventlet", "gevent-serve", pytest.param("gevent", marks=pytest.mark.long), "threading"],
)
def test_who_logs_out_hears_nothing_more_and_who_stays_misses_nothing(serve, mode):
    stack = serve("django_session", mode, TASKBRIDGE_SESSION_TTL=str(BOUND))
    stays, leaves = log_in(stack, "ada", "bob")
    ada, bob = Follower(stack, stays), Follower(stack, leaves)
    enqueued = {"ada": [], "bob": []}

    def enqueue():
        for owner, jobs in enqueued.items():
            jobs.append(stack.bridge.enqueue("support.add", [1, 1], owner=owner).id)
        return time.monotonic() > enough

    enough = time.monotonic() + 2 * BOUND
    until(enqueue, 4 * BOUND, "two bounds to pass", interval=0.05)
    assert bob.connected
    until(lambda: bob.jobs == enqueued["bob"], 30, "all of bob's jobs")
    log_out(stack, leaves)
    until(lambda: not bob.connected, BOUND + 2, "the end of bob's connection")
    heard, enough = len(bob.jobs), time.monotonic() + 0.5
    until(enqueue, 30, "more jobs", interval=0.05)
    until(lambda: ada.jobs == enqueued["ada"], 30, "all of ada's jobs, in order, each once")
    assert ada.connects == 1
    assert len(bob.jobs) == heard
    with pytest.raises(socketio.exceptions.ConnectionError):
        Follower(stack, leaves)
    ada.client.shutdown()


EVENT_SOURCE = """
(job) => {
  const seen = (window.seen = { lines: [], recovered: [], end: null });
  const source = (window.source = new EventSource(`/api/jobs/${job}/events`));
  source.addEventListener("snapshot", ({ data }) => {
    seen.recovered.push(JSON.parse(data).recovered);
  });
  source.addEventListener("job", ({ data }) => {
    const event = JSON.parse(data);
    for (const line of event.data.lines ?? []) seen.lines.push(line.message);
  });
  source.addEventListener("end", ({ data }) => { seen.end = JSON.parse(data).state; });
}
"""


def test_an_eventsource_has_a_session_is_cut_off_and_stops_when_the_job_or_session_has_ended(
    serve, flask_cookie, page
):
    stack = serve("flask_session", TASKBRIDGE_SESSION_TTL="5")
    stack.start_worker()

    def seen():
        return page.evaluate("window.seen")

    with Link(stack.port) as link:
        url = f"http://127.0.0.1:{link.port}"
        cookie = {"name": "session", "value": flask_cookie("ada"), "url": url}
        page.context.add_cookies([cookie])
        page.goto(url)
        job = stack.bridge.enqueue("support.counts", [LINES], owner="ada")
        page.evaluate(EVENT_SOURCE, job.id)
        for number in (1, 2):
            until(lambda number=number: len(seen()["recovered"]) == number, 30, "a stream")
            news = len(seen()["lines"]) + 10
            until(lambda news=news: len(seen()["lines"]) >= news, 30, f"{news} lines")
            link.cut()
        until(lambda: seen()["end"], 60, "the end")
        assert seen()["end"] == "succeeded"
        assert seen()["lines"] == [f"line {number}" for number in range(LINES)]
        assert seen()["recovered"] == [True] * 3
        until(lambda: page.evaluate("source.readyState") == 2, 30, "no more attempts to connect")
        job = stack.bridge.enqueue("support.work", [60], owner="ada")
        [block] = [one for one in blocks("js") if "EventSource" in one.text]
        page.evaluate("window.told = []; window.draw = (...told) => window.told.push(told); null")
        page.evaluate(f"(id) => {{ {block.text}\n follow(id); }}", job.id)

        def told():
            return [data.get("type") or data.get("code") or name for name, data in drawn()]

        def drawn():
            return page.evaluate("window.told")

        until(lambda: "progress" in told(), 30, "progress")
        sessions.end_flask_sessions()
        until(lambda: "unauthorized" in told(), 15, "to be told of the end")
        assert (told()[0], told()[-1]) == ("snapshot", "unauthorized")
        page.goto("about:blank")


def test_a_django_session_is_enough(serve):
    stack = serve("django_session")
    [key] = log_in(stack, "ada")
    raw, answer = connect(stack, f"sessionid={key}")
    with raw:
        assert answer.startswith("40/jobs,{")
        assert_sees_its_jobs(raw, stack, "ada")


@pytest.mark.parametrize("name", ["flask_session", "django_session"])
def test_a_forged_session_is_refused_and_a_token_still_does(serve, name, flask_cookie):
    stack = serve(name)
    cookie = "session" if name == "flask_session" else "sessionid"
    if name == "django_session":
        code = "from support.applications.sessions import new_django_session as n; n('eve')"
        assert stack.start("login", sys.executable, "-c", code).wait() == 0
    for value in ("rubbish", flask_cookie("ada")[:-2], str(uuid.uuid4())):
        raw, answer = connect(stack, f"{cookie}={value}")
        with raw:
            assert json.loads(answer[8:])["data"]["code"] == "unauthorized"
    raw, answer = connect(stack, token=stack.token(owner="me"))
    with raw:
        assert answer.startswith("40/jobs,{")
    raw, answer = connect(stack)
    with raw:
        assert answer.startswith("44/jobs,")


@pytest.mark.parametrize(("name", "logged"), [("broken", "a bug"), ("forgetful", "bridge.Grant")])
def test_a_function_that_fails_lets_nobody_in_and_the_log_says_why(serve, name, logged):
    stack = serve(name)
    raw, answer = connect(stack, token=stack.token(owner="me"))
    with raw:
        refusal = json.loads(answer[8:])
    assert refusal["data"]["code"] == "unauthorized"
    assert "a bug" not in answer
    [server] = stack.processes
    server.await_output(logged)


@pytest.mark.parametrize("name", ["support.nothing:x", "support.applications.sessions:nothing"])
def test_a_function_that_is_not_there_is_a_wrong_setting(new_stack, name):
    stack = new_stack(TASKBRIDGE_AUTH=name)
    server = stack.start("server", sys.executable, "-m", "socket_server")
    assert server.wait() == 2
    assert f"TASKBRIDGE_AUTH={name}" in server.output
    assert "Traceback" not in server.output
