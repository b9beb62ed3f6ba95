"""Who has a session of the application that it comes from needs no token."""

from __future__ import annotations

import json
import sys
import uuid

import pytest

from support.raw import Raw

KEY = "a key of the application's own sessions"


@pytest.fixture
def serve(new_stack, tmp_path):
    """Start a server with a function of ``support.applications.sessions``."""

    def serve(name):
        variables = {
            "SESSION_KEY": KEY,
            "SESSION_DATABASE": str(tmp_path / "sessions.sqlite"),
            "TASKBRIDGE_AUTH": f"support.applications.sessions:{name}",
        }
        stack = new_stack(**variables)
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


def flask_cookie(user):
    from flask import Flask

    app = Flask("elsewhere")
    app.secret_key = KEY
    return app.session_interface.get_signing_serializer(app).dumps({"user": user})


def test_a_flask_session_is_enough(serve):
    stack = serve("flask_session")
    raw, answer = connect(stack, f"session={flask_cookie('ada')}")
    with raw:
        assert answer.startswith("40/jobs,{")
        assert_sees_its_jobs(raw, stack, "ada")


def test_a_django_session_is_enough(serve):
    stack = serve("django_session")
    code = "from support.applications.sessions import new_django_session as new; print(new('ada'))"
    made = stack.start("login", sys.executable, "-c", code)
    assert made.wait() == 0
    raw, answer = connect(stack, f"sessionid={made.output.strip()}")
    with raw:
        assert answer.startswith("40/jobs,{")
        assert_sees_its_jobs(raw, stack, "ada")


@pytest.mark.parametrize("name", ["flask_session", "django_session"])
def test_a_forged_session_is_refused_and_a_token_still_does(serve, name):
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
