"""The server beside an application, under web servers other than gunicorn with threads or gevent.

Each serves WebSockets, or refuses them with one sentence that says what to use; none answers with
an unexplained 500, or blocks the site.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import sys
import urllib.error
import urllib.request

import pytest
import socketio
from playwright.sync_api import expect

from bridge.client.watcher import Watcher
from bridge.errors import TaskbridgeError
from support.event_stream import EventStreamClient
from support.ports import free_port, is_listening
from support.process import ROOT

UWSGI = shutil.which("uwsgi")
OWN_PAGE = "the application's own page"
USE = "use gunicorn with --worker-class gthread"

with_uwsgi = pytest.mark.skipif(UWSGI is None, reason="uwsgi is not on PATH: pip install uwsgi")
with_waitress = pytest.mark.skipif(
    importlib.util.find_spec("waitress") is None, reason="waitress is not installed"
)


def python(*arguments):
    return [sys.executable, "-m", *arguments]


def uwsgi(port, *options, socket="--http-socket"):
    """Return uWSGI's command line, with this Python's packages."""
    app = ["--module", "support.mounted:app", "--pythonpath", ROOT, "--pythonpath", ROOT / "tests"]
    packages = ["--virtualenv", sys.prefix]
    return [
        UWSGI,
        "--master",
        "--die-on-term",
        socket,
        f"127.0.0.1:{port}",
        *packages,
        *app,
        *options,
    ]


#: Command lines by the name of the web server, for a port.
SERVERS = {
    "Flask": lambda port: python(
        "flask", "--app", "support.applications.flask_host", "run", "--port", port
    ),
    "uWSGI with threads": lambda port: uwsgi(port, "--threads", "20"),
    "uWSGI's router": lambda port: uwsgi(
        port, "--http-websockets", "--threads", "20", socket="--http"
    ),
    "uWSGI with gevent": lambda port: uwsgi(port, "--gevent", "100", "--gevent-early-monkey-patch"),
    "Django": lambda port: python(
        "support.applications.django_host", "runserver", "--noreload", port
    ),
    "waitress": lambda port: python(
        "waitress", f"--listen=127.0.0.1:{port}", "--threads=20", "support.mounted:app"
    ),
    "uvicorn": lambda port: python(
        "uvicorn", "--interface", "wsgi", "--port", port, "support.mounted:app"
    ),
}


@pytest.fixture(scope="module")
def stack(stacks):
    return stacks("rabbitmq")


@pytest.fixture
def serve(stack):
    """Start an application and its server on a port of its own; ends with the test."""
    with contextlib.ExitStack() as stopped:

        def serve(name, *more, **variables):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            command = [str(one) for one in [*SERVERS[name](str(port)), *more]]
            told = {"TASKBRIDGE_URL": f"{url}/taskbridge", "PYTHONWARNINGS": "default", **variables}
            server = stack.start("host", *command, **told)
            stopped.callback(server.kill)  # some wait for polling requests to end by themselves
            server.until(lambda: is_listening(port), 40, f"{name} to listen")
            return server, url

        yield serve


def fetch(url):
    """Return the status and the text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    "name",
    [
        "Flask",
        pytest.param("uWSGI with threads", marks=with_uwsgi),
        pytest.param("uWSGI's router", marks=with_uwsgi),
        pytest.param("uWSGI with gevent", marks=with_uwsgi),
    ],
)
def test_a_job_is_watched_over_websockets_beside_the_site(serve, stack, name):
    server, url = serve(name)
    for _ in range(2):  # the first WebSocket ends before the second begins
        job = stack.bridge.enqueue("support.narrate", [1.0], owner="me").id
        watcher = Watcher(url, stack.token(jobs=[job]), job, timeout=20)
        for event in watcher:
            if event["type"] == "started":
                assert fetch(f"{url}/") == (200, OWN_PAGE)
        assert watcher.snapshot.state == "succeeded"
        assert watcher.recovered
    assert json.loads(fetch(f"{url}/taskbridge/api/origin?origin={url}")[1])["ok"]
    assert "Traceback" not in server.output
    assert " 500" not in server.output


@pytest.mark.parametrize(
    "name", ["Django", pytest.param("waitress", marks=with_waitress), "uvicorn"]
)
def test_without_websockets_clients_are_told_so_and_long_polling_works(serve, stack, page, name):
    server, url = serve(name, TASKBRIDGE_TRANSPORTS="websocket,polling")
    job = stack.bridge.enqueue("support.work", [2.0], owner="me").id
    token = stack.token(jobs=[job])
    for _ in range(2):
        with pytest.raises(TaskbridgeError, match=f"serves no WebSockets: {USE}"):
            list(Watcher(url, token, job, timeout=20))
    assert server.output.count("a client was refused") == 1
    error = json.loads(fetch(f"{url}/taskbridge/api/origin?origin={url}")[1])["error"]
    assert USE in error["message"]
    with socketio.SimpleClient(handle_sigint=False) as client:
        client.connect(url, {}, {"token": token}, ["polling"], namespace="/jobs")
        assert client.call("watch", {"job": job})["ok"]
        while (event := client.receive(timeout=20))[1]["type"] != "succeeded":
            assert fetch(f"{url}/") == (200, OWN_PAGE)
        assert event[1]["job"] == job
    port = int(url.rpartition(":")[2])
    stream = EventStreamClient(port, f"/taskbridge/api/jobs/{job}/events", token=token)
    assert list(stream)[-1].data == {"state": "succeeded"}
    assert stream.statuses == [200, 204], "server-sent events need no WebSocket"
    page.goto(f"{url}/taskbridge/?transports=websocket,polling#token={token}")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#ended .job")).to_have_count(1)
    assert "Traceback" not in server.output


def test_the_page_says_why_it_cannot_connect(serve, stack, page):
    _, url = serve("Django")
    page.goto(f"{url}/taskbridge/#token={stack.token(owner='me')}")
    expect(page.locator("#banner")).to_contain_text("serves no WebSockets: use gunicorn")


def test_a_web_server_that_serves_one_request_at_a_time_refuses_clients_and_serves_the_site(
    serve, stack
):
    server, url = serve("Flask", "--without-threads", TASKBRIDGE_TRANSPORTS="websocket,polling")
    token = stack.token(owner="me")
    for transport in ("websocket", "polling"):
        status, text = fetch(f"{url}/socket.io/?EIO=4&transport={transport}")
        assert status == 501
        assert f"serves one request at a time, which the first client would occupy: {USE}" in text
    with pytest.raises(TaskbridgeError, match="serves one request at a time"):
        list(Watcher(url, token, "a-job", timeout=20))
    assert fetch(f"{url}/") == (200, OWN_PAGE)
    assert server.output.count("a client was refused") == 1


def test_gunicorn_with_its_sync_worker_is_refused_at_its_start(stack):
    for app, status in (("socket_server.wsgi:app", 4), ("support.mounted:app", 3)):
        command = python("gunicorn", f"--bind=127.0.0.1:{free_port()}", app)
        with stack.start("gunicorn", *command) as server:
            assert server.wait(30) == status
            assert "gunicorn's sync worker serves one request at a time" in server.output
            assert USE in server.output


@with_uwsgi
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "uWSGI without --threads serves one request at a time"),
        (["--gevent", "100"], "--gevent needs --gevent-early-monkey-patch too"),
        (["--gevent", "100", "--gevent-monkey-patch"], "needs --gevent-early-monkey-patch too"),
    ],
)
def test_uwsgi_with_options_that_cannot_work_is_refused_at_its_start(stack, options, told):
    port = free_port()
    command = [str(one) for one in uwsgi(port, "--need-app", *options)]
    with stack.start("uwsgi", *command) as server:
        assert server.wait(30) != 0
        assert told in server.output
