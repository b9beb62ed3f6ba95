"""Mistakes of a beginner: each is made for real, and gets a sentence and an exit status of its own.

More of them need environments of their own: missing extras (``test_extras.py``), a project's own
``bridge`` (``test_hidden_packages.py``), ``--app`` (``test_own_worker.py``), and each program with
a wrong password (``test_refused_logins.py``).
"""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shlex
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

import bridge
from bridge import tokens
from bridge.cli.commands import cli
from bridge.client.socket_client import SocketClient
from bridge.errors import (
    EnqueueError,
    JobEnded,
    JobNotFound,
    ResultsUnavailable,
    ServerUnavailable,
    SettingsError,
    TokenError,
)
from support.certificates import Authority
from support.process import ROOT
from support.stack import Stack

WRONG, FAILED = 2, 1
NOWHERE = "http://127.0.0.1:1"
OTHER_KEY = "another secret that is long enough to sign with"
SCHEMES = "must start with one of amqp://, amqps://, pyamqp://, redis://, rediss://"


@pytest.fixture(scope="module")
def stack(stacks):
    """A server and a worker."""
    return stacks("rabbitmq")


@pytest.fixture(scope="module")
def words(stack, tmp_path_factory):
    """What the rows below mean by a word in braces."""
    certificate = Authority(tmp_path_factory.mktemp("tls")).sign("server", "IP:127.0.0.1")
    with other_server() as other, other_server(certificate) as untrusted:
        broker = stack.settings.broker
        yield {
            "{other}": other,
            "{untrusted}": untrusted,
            "{url}": stack.url,
            "{tls}": stack.url.replace("http:", "https:"),
            "{wrong}": broker.replace("guest:guest", "guest:wrong"),
            "{vhost}": f"{broker}-nowhere",
            "{port}": str(stack.port),
        }


@contextlib.contextmanager
def other_server(certificate=None):
    """Run a web server that is no socket server, with TLS or without; yield its URL."""

    class NotFound(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def filled(text, words):
    """Return a text with its words in braces replaced."""
    return re.sub(r"\{\w+\}", lambda found: words.get(found[0], found[0]), text)


COMMANDS = {
    "a typo in a setting": (
        "token --owner o",
        {"TASKBRIDGE_BROKER_ULR": "amqp://"},
        WRONG,
        "unknown setting TASKBRIDGE_BROKER_ULR: did you mean TASKBRIDGE_BROKER_URL?",
    ),
    "a word for a number": (
        "token --owner o",
        {"TASKBRIDGE_PORT": "eighty"},
        WRONG,
        "TASKBRIDGE_PORT='eighty' must be a number",
    ),
    "no secret": (
        "token --owner o",
        {"TASKBRIDGE_SECRET": "", "TASKBRIDGE_HOME": "/nowhere"},
        WRONG,
        "no secret: set TASKBRIDGE_SECRET to a random string of 32 or more bytes, or run in the",
    ),
    "a short secret": (
        "token --owner o",
        {"TASKBRIDGE_SECRET": "short"},
        WRONG,
        "TASKBRIDGE_SECRET has a key shorter than 32 bytes; make one with: python -c",
    ),
    "another secret than the server's": (
        "jobs --owner o",
        {"TASKBRIDGE_SECRET": OTHER_KEY},
        FAILED,
        "the token is not valid: it was not signed with the server's TASKBRIDGE_SECRET",
    ),
    "an unknown scope": (
        "token --owner o --scope wach",
        {},
        WRONG,
        "unknown scope wach: use cancel, enqueue, operate, watch",
    ),
    "a token for nothing": ("token", {}, WRONG, "a token needs an owner or at least one job"),
    "no lifetime": (
        "token --owner o --ttl 0",
        {},
        WRONG,
        "a token's ttl must be a positive number of seconds",
    ),
    "no server": (
        "jobs --owner o",
        {"TASKBRIDGE_URL": NOWHERE},
        FAILED,
        f"no socket server answers at {NOWHERE}: start it, or set TASKBRIDGE_URL",
    ),
    "the URL of another server": (
        "jobs --owner o",
        {"TASKBRIDGE_URL": "{other}"},
        FAILED,
        "what answers at {other} is no socket server (HTTP status 404): set TASKBRIDGE_URL",
    ),
    "https for a server without TLS": (
        "jobs --owner o",
        {"TASKBRIDGE_URL": "{tls}"},
        FAILED,
        "no trusted connection to {tls} (WRONG_VERSION_NUMBER): correct the scheme",
    ),
    "a certificate that is not trusted": (
        "jobs --owner o",
        {"TASKBRIDGE_URL": "{untrusted}"},
        FAILED,
        "no trusted connection to {untrusted} (unable to get local issuer certificate): correct",
    ),
    "a state that does not exist": (
        "jobs --owner o --state finished",
        {},
        WRONG,
        "Invalid value for '--state': 'finished' is not one of 'queued', 'running'",
    ),
    "an id that does not exist": ("cancel nope", {}, FAILED, "no job nope that this token names"),
    "arguments that are not JSON": (
        "enqueue n --kwargs {a:1}",
        {},
        WRONG,
        "Invalid value for '--kwargs': is not JSON: Expecting property name",
    ),
    "a number for a list": (
        "enqueue n --args 12",
        {},
        WRONG,
        "Invalid value for '--args': must be a JSON list",
    ),
    "no broker": (
        "enqueue n --owner o",
        {"TASKBRIDGE_BROKER_URL": "amqp://127.0.0.1:1//"},
        FAILED,
        "no broker answers at amqp://127.0.0.1:1//: start it, or set TASKBRIDGE_BROKER_URL",
    ),
    "a wrong password": (
        "enqueue n --owner o",
        {"TASKBRIDGE_BROKER_URL": "{wrong}"},
        FAILED,
        "the broker refuses the login: correct the user and the password in TASKBRIDGE_BROKER_URL",
    ),
    "a virtual host that does not exist": (
        "enqueue n --owner o",
        {"TASKBRIDGE_BROKER_URL": "{vhost}"},
        FAILED,
        "not found: correct the virtual host at the end of TASKBRIDGE_BROKER_URL, or make it",
    ),
    "a broker that cannot carry events": (
        "enqueue n --owner o",
        {"TASKBRIDGE_BROKER_URL": "sqs://"},
        WRONG,
        f"TASKBRIDGE_BROKER_URL {SCHEMES}",
    ),
    "a broker without a scheme": (
        "enqueue n --owner o",
        {"TASKBRIDGE_BROKER_URL": "localhost"},
        WRONG,
        f"TASKBRIDGE_BROKER_URL {SCHEMES}",
    ),
    "the name of a task that does not exist": (
        "enqueue shop.nothing --owner o --watch",
        {},
        FAILED,
        "no worker knows a task named shop.nothing: check the name, or add its module to the",
    ),
    "an argument too few": (
        "enqueue support.add --args [1] --owner o --watch",
        {},
        FAILED,
        "TypeError: add() missing 1 required positional argument: 'y'",
    ),
    "a folder that jobs may not read": (
        """enqueue workers.jobs.checksum --args '["/etc"]' --owner o --watch""",
        {},
        FAILED,
        "There is no folder /etc below the input roots of this worker (TASKBRIDGE_INPUT_ROOTS)",
    ),
    "results that are away": (
        "doctor",
        {"TASKBRIDGE_RESULT_URL": "redis://127.0.0.1:1/0"},
        FAILED,
        "no results at redis://127.0.0.1:1/0 (Error 111 connecting to 127.0.0.1:1. Connection",
    ),
    "another channel than the workers'": (
        "doctor",
        {"TASKBRIDGE_CHANNEL": "another"},
        FAILED,
        "start a server or a worker that may make it",
    ),
    "a certificate that does not exist": (
        "serve --certfile nowhere.pem",
        {},
        WRONG,
        "TASKBRIDGE_CERTFILE='nowhere.pem' must be a file that can be read (No such file",
    ),
    "a port that is in use": (
        "up --no-flower",
        {},
        WRONG,
        "port {port} is in use: set TASKBRIDGE_PORT to a free one",
    ),
    "Flower for everybody": (
        "flower --address 0.0.0.0",
        {},
        WRONG,
        "Flower on 0.0.0.0 would let anybody read arguments and stop workers: set",
    ),
    "--app without a module": (
        "worker --app",
        {},
        WRONG,
        "--app needs the module of a Celery application: --app shop",
    ),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_a_command_says_what_is_wrong(stack, words, mistake):
    line, variables, status, sentence = COMMANDS[mistake]
    ours = {name: one for name, one in stack.env.items() if name.startswith("TASKBRIDGE")}
    env = {**dict.fromkeys(name for name in os.environ if "TASKBRIDGE" in name), **ours}
    # `serve` sets it, and what is given here is taken back.
    env["TASKBRIDGE_CERTFILE"] = ""
    env |= {name: filled(value, words) for name, value in variables.items()}
    done = CliRunner().invoke(cli, shlex.split(line), env=env)
    assert done.exit_code == status, done.output
    assert isinstance(done.exception, SystemExit)
    assert sum(filled(sentence, words) in line for line in done.output.splitlines()) == 1
    assert "Traceback" not in done.output


OTHER_MODE = """
import sys
from socket_server.__main__ import serve
from bridge import Settings, TaskbridgeError
from socket_server.app import new_server
settings = Settings.from_environ()
try:
    serve(new_server(settings, async_mode="gevent"), settings)
except TaskbridgeError as error:
    sys.exit(sys.stderr.write(f"taskbridge: {error}\\n") and 2)
"""
PROGRAMS = {
    "a server on gevent, on a port that is in use": (
        ["-m", "socket_server"],
        {"TASKBRIDGE_ASYNC_MODE": "gevent"},
        FAILED,
        "cannot listen on 127.0.0.1:{port} (Address already in use): set TASKBRIDGE_PORT",
    ),
    "a server on a port that is in use": (
        ["-m", "socket_server"],
        {},
        FAILED,
        "cannot listen on 127.0.0.1:{port} (Address already in use): set TASKBRIDGE_PORT",
    ),
    "a server without a secret": (
        ["-m", "socket_server"],
        {"TASKBRIDGE_SECRET": "", "TASKBRIDGE_HOME": "nowhere"},
        WRONG,
        "no secret: set TASKBRIDGE_SECRET to a random string of 32 or more bytes",
    ),
    "an async mode that is none": (
        ["-m", "socket_server"],
        {"TASKBRIDGE_ASYNC_MODE": "asyncio"},
        WRONG,
        "TASKBRIDGE_ASYNC_MODE='asyncio' must be eventlet or gevent",
    ),
    "a server that is made for another async mode than the process's": (
        ["-c", OTHER_MODE],
        {},
        WRONG,
        "the server was made for gevent, and the process runs on eventlet: set "
        "TASKBRIDGE_ASYNC_MODE=gevent in its environment",
    ),
    "a function for users that does not exist": (
        ["-m", "socket_server"],
        {"TASKBRIDGE_AUTH": "nope:user_of"},
        WRONG,
        "TASKBRIDGE_AUTH=nope:user_of cannot be imported: No module named 'nope'",
    ),
    "a module of tasks that does not exist": (
        ["-m", "bridge.cli", "worker"],
        {"TASKBRIDGE_INCLUDE": "nope"},
        WRONG,
        "TASKBRIDGE_INCLUDE: nope cannot be imported: ModuleNotFoundError: No module named 'nope'",
    ),
}


@pytest.mark.parametrize("mistake", PROGRAMS)
def test_a_program_that_cannot_start_says_why(stack, words, tmp_path, mistake):
    arguments, variables, status, sentence = PROGRAMS[mistake]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**stack.env, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"taskbridge: {filled(sentence, words)}")
    assert "Traceback" not in done.stdout + done.stderr


def changed(stack, **variables):
    """Return a bridge with other settings."""
    return bridge.Bridge(settings=bridge.Settings.from_environ({**stack.env, **variables}))


def dial(stack, token, request="jobs", **payload):
    """Make a request as a client does; return the server's answer, or its error's message."""
    client = SocketClient(reconnection=False)
    try:
        client.dial(stack.url, {"token": token}, stack.settings.socket_path)
        answer = client.call(request, payload, namespace="/jobs", timeout=10)
        return answer if answer["ok"] else answer["error"]["message"]
    finally:
        client.shutdown()


def ended(stack):
    """Return the id of a job of ada's that has ended."""
    job = stack.bridge.enqueue("support.add", [1, 2], owner="ada")
    assert [event["type"] for event in stack.bridge.watch(job.id, timeout=20)][-1] == "succeeded"
    return job.id


NO_RESULTS = {"TASKBRIDGE_URL": NOWHERE, "TASKBRIDGE_RESULT_URL": "disabled://"}
CALLS = {
    "an owner that is a number": (
        lambda stack: stack.bridge.enqueue("n", owner=7),
        EnqueueError,
        "an owner must be a string of 1 to 255 characters, not int: pass str(...) of it",
    ),
    "an argument that is not JSON": (
        lambda stack: stack.bridge.enqueue("n", [object()], owner="o"),
        EnqueueError,
        "args cannot be sent as JSON: Object of type object is not JSON serializable",
    ),
    "a function for the name of a task": (
        lambda stack: stack.bridge.enqueue(ended, owner="o"),
        EnqueueError,
        "enqueue needs a task's name or a Celery signature, such as add.s(2, 2)",
    ),
    "a module for an application": (
        lambda _: bridge.install(bridge),
        SettingsError,
        "app must be a Celery application, as Celery(...) makes it, not module",
    ),
    "an event for nobody": (
        lambda stack: stack.bridge.push("notice", 1),
        EnqueueError,
        "push needs one destination: owner, job, room or everyone=True",
    ),
    "the status of an unknown job": (
        lambda stack: stack.bridge.status("nope"),
        JobNotFound,
        "no job nope: check the id, or whether its result has expired",
    ),
    "results that are away": (
        lambda stack: changed(
            stack, TASKBRIDGE_URL=NOWHERE, TASKBRIDGE_RESULT_URL="redis://127.0.0.1:1/0"
        ).status("nope"),
        ResultsUnavailable,
        "the result backend does not answer: try again, or check TASKBRIDGE_RESULT_URL",
    ),
    "neither server nor results": (
        lambda stack: changed(stack, **NO_RESULTS).status("nope"),
        ServerUnavailable,
        f"the server at {NOWHERE} does not tell about job nope, and no result is stored",
    ),
    "a cancel of what has ended": (
        lambda stack: stack.bridge.cancel(ended(stack)),
        JobEnded,
        "the job has already succeeded",
    ),
    "no token": (
        lambda stack: dial(stack, None),
        TokenError,
        "a token is needed: connect with auth {token: ...}",
    ),
    "an expired token": (
        lambda stack: dial(
            stack, tokens.sign(stack.settings.keys, owner="o", clock=lambda: time.time() - 9999)
        ),
        TokenError,
        "the token has expired: ask the application for a new one",
    ),
}


@pytest.mark.parametrize("mistake", CALLS)
def test_a_call_raises_an_error_that_says_what_is_wrong(stack, mistake):
    call, error, sentence = CALLS[mistake]
    with pytest.raises(error) as caught:
        call(stack)
    assert sentence in str(caught.value)


REQUESTS = {
    "a token for another job": (
        lambda stack, job: dial(stack, stack.bridge.token(jobs=["other"]), "watch", job=job),
        "no job {job} that this token names",
    ),
    "another owner's job": (
        lambda stack, job: dial(stack, stack.bridge.token(owner="eve"), "watch", job=job),
        "no job {job} that this token names",
    ),
    "a scope that the token lacks": (
        lambda stack, job: dial(stack, stack.bridge.token(jobs=[job]), "cancel", job=job),
        "the token's scope does not allow cancel",
    ),
    "a task that clients may not enqueue": (
        lambda stack, _: dial(
            stack, stack.bridge.token(owner="o", scope="enqueue"), "enqueue", name="os.system"
        ),
        "os.system may not be enqueued by clients: see TASKBRIDGE_TASKS",
    ),
}


@pytest.mark.parametrize("mistake", REQUESTS)
def test_a_client_is_told_what_is_wrong(stack, mistake):
    ask, sentence = REQUESTS[mistake]
    job = ended(stack)
    assert ask(stack, job) == sentence.replace("{job}", job)


def test_a_page_of_another_origin_is_refused_with_the_setting_that_lets_it_in(stack):
    headers = {"Origin": "https://shop.example", "Connection": "Upgrade", "Upgrade": "websocket"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    url = f"{stack.url}/socket.io/?EIO=4&transport=websocket"
    request = urllib.request.Request(url, headers=headers)
    with (
        pytest.raises(urllib.error.HTTPError) as refused,
        contextlib.closing(urllib.request.urlopen(request, timeout=10)),
    ):
        pass
    with refused.value as answer:
        assert b"list https://shop.example in TASKBRIDGE_ORIGINS of the server" in answer.read()


def test_doctor_names_workers_that_are_not_installed_or_read_another_queue(
    rabbitmq, redis_server, tmp_path
):
    stack = Stack(tmp_path / "stack", rabbitmq.new_vhost(), TASKBRIDGE_RESULT_URL=redis_server.url)
    stack.env["TASKBRIDGE_INCLUDE"] = ""

    def doctor():
        ours = {name: one for name, one in stack.env.items() if name.startswith("TASKBRIDGE")}
        return CliRunner().invoke(cli, ["doctor"], env=ours).output

    try:
        plain = stack.start_worker(app="support.plain_app")
        # Nothing has made the stream: a stranger's worker sends no events.
        assert "there is no stream taskbridge.stream" in doctor()
        stack.start_server()
        assert "is watchable: call bridge.install(app) in the module that makes" in doctor()
        plain.kill()
        stack.start_worker("-Q", "other", app="support.own_app")
        told = "no worker reads the queue 'celery', into which a job goes that names no queue"
        assert told in doctor()
    finally:
        stack.stop()
