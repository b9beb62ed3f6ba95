"""Each program in an environment that lacks an extra, and with no more than what it needs."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from support.installed import PROJECT, Installed
from support.ports import free_port
from support.process import ROOT, Process, finished
from support.wait import until

CONFIGURATION, FAILED = 2, 1
SECRET = "a secret for tests that is long enough to sign with"
#: The extra of a need, and what of it is missing.
CLI = 'honcho, rich are not installed: pip install "celery-taskbridge[cli]"'
SERVER = (
    "eventlet, flask, msgspec, prometheus_client, werkzeug are not installed: "
    'pip install "celery-taskbridge[server]"'
)
WORKER = 'Pillow, SQLAlchemy are not installed: pip install "celery-taskbridge[worker]"'
SQL = 'SQLAlchemy is not installed: pip install "celery-taskbridge[worker]"'
REDIS = 'packaging, redis are not installed: pip install "celery-taskbridge[redis]"'
FLOWER = 'flower is not installed: pip install "celery-taskbridge[flower]"'
ON_GEVENT = {"TASKBRIDGE_ASYNC_MODE": "gevent"}
CREATE_APP = SERVER.removeprefix("eventlet, ")
GEVENT = 'gevent is not installed: pip install "celery-taskbridge[gevent]"'
STACK = (
    "eventlet, flask, flower, msgspec, Pillow, prometheus_client, SQLAlchemy, werkzeug "
    "are not installed: "
    'pip install "celery-taskbridge[server,worker,flower]"'
)
ON_REDIS = {"TASKBRIDGE_BROKER_URL": "redis://127.0.0.1:1/0"}
POSTGRESQL = {"TASKBRIDGE_RESULT_URL": "db+postgresql://127.0.0.1:1/x"}
ARCHIVE = (
    "alembic, msgspec, prometheus_client, SQLAlchemy are not installed: "
    'pip install "celery-taskbridge[archive]"'
)
ARCHIVE_AND_DRIVER = ARCHIVE.replace(", SQLAlchemy", ", psycopg, SQLAlchemy").replace(
    "[archive]", "[archive,postgresql]"
)
TRACING = {"TASKBRIDGE_TRACING": "1"}
NO_TRACING = (
    'TASKBRIDGE_TRACING needs OpenTelemetry: pip install "celery-taskbridge[otel]" '
    "(No module named 'opentelemetry')"
)


class Pip:
    """An environment into which pip has installed the wheel with some extras.

    Args:
        folder: folder of the environment, which is made.
        extras: see :class:`support.installed.Installed`.
        wheel: the wheel.
    """

    def __init__(self, folder, extras, wheel):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        self.python, self.command = folder / "bin" / "python", folder / "bin" / "taskbridge"
        constraints = ["-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
        what = f"{wheel}[{extras}]" if extras else wheel
        install = [self.python, "-m", "pip", "install", *constraints, what]
        # Without PYTHONPATH: pip would find the checkout there, and install nothing.
        subprocess.run(install, env=self.environ(), check=True, timeout=600)

    environ = Installed.environ


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", params=["linked", pytest.param("pip", marks=pytest.mark.long)])
def installed(request, tmp_path_factory):
    """Make environments with some extras, each once."""

    @functools.cache
    def make(extras):
        folder = tmp_path_factory.mktemp("extras") / "environment"
        if request.param == "linked":
            return Installed(folder, extras)
        return Pip(folder, extras, request.getfixturevalue("wheel"))

    return make


def run(environment, folder, *arguments, **variables):
    """Run the command, in an empty folder and with a secret."""
    nowhere = {"TASKBRIDGE_SECRET": SECRET, "TASKBRIDGE_URL": "http://127.0.0.1:1"}
    env = environment.environ(**{**nowhere, **variables})
    return finished([environment.python, environment.command, *arguments], folder, env)


@pytest.mark.parametrize(
    ("extras", "command", "variables", "sentence"),
    [
        ("", "settings", {}, CLI),
        ("cli", "serve", {}, SERVER),
        ("cli,server", "serve", ON_GEVENT, GEVENT),
        ("cli,server", "serve --async-mode gevent", {}, GEVENT),
        ("cli", "worker", {}, WORKER),
        ("cli", "flower", {}, FLOWER),
        ("cli", "archive", {"TASKBRIDGE_ARCHIVE_URL": "sqlite:///x"}, ARCHIVE),
        ("cli", "archive", {"TASKBRIDGE_ARCHIVE_URL": "postgresql:///x"}, ARCHIVE_AND_DRIVER),
        ("cli", "up", {}, STACK),
        ("cli", "demo --once", {}, STACK),
        ("cli", "enqueue n --owner o", ON_REDIS, REDIS),
        ("cli,flower", "flower", {}, WORKER),
        ("cli,server,worker", "up --no-flower", ON_REDIS, REDIS),
        ("cli,server,worker", "serve", ON_REDIS, REDIS),
        ("cli,server,worker", "serve", TRACING, NO_TRACING),
        ("cli,server,worker", "worker", ON_REDIS, REDIS),
        (
            "cli,server,worker",
            "worker",
            POSTGRESQL,
            'psycopg is not installed: pip install "celery-taskbridge[postgresql]"',
        ),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    installed, tmp_path, extras, command, variables, sentence
):
    done = run(installed(extras), tmp_path, *command.split(), **variables)
    assert done.returncode == CONFIGURATION, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].partition(": ")[::2] in [
        ("taskbridge", sentence),
        ("Error", sentence),
    ]
    assert "Traceback" not in done.stdout + done.stderr


def test_the_command_says_its_version(installed, tmp_path):
    done = run(installed("cli"), tmp_path, "--version")
    assert done.stdout == f"taskbridge, version {PROJECT['version']}\n", done.stderr


@pytest.mark.parametrize(
    ("variables", "line"), [({}, f"results  {SQL}"), (ON_REDIS, f"broker   {REDIS}")]
)
def test_doctor_names_the_extra_that_a_link_needs(installed, tmp_path, variables, line):
    done = run(installed("cli"), tmp_path, "doctor", **variables)
    assert done.returncode == FAILED
    assert f"failed   {line}\n" in done.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [("settings", ""), ("token --job j", ""), ("jobs --owner o", "no socket server answers")],
)
def test_a_command_that_needs_no_other_extra_works(installed, tmp_path, command, sentence):
    done = run(installed("cli"), tmp_path, *command.split())
    assert done.returncode == (FAILED if sentence else 0)
    assert sentence in done.stderr


SERVICE = """
import json, sys
from bridge import Bridge, TaskbridgeError
try:
    exec(sys.argv[1], {"bridge": Bridge(), "print": lambda value: sys.stdout.write(f"{value}\\n")})
except TaskbridgeError as error:
    sys.stdout.write(f"{type(error).__name__}: {error}\\n")
"""
WATCHED = "print([event['type'] for event in bridge.watch({!r}, timeout=30)])"
AWATCHED = """
import asyncio
async def types(job):
    return [event["type"] async for event in bridge.awatch(job, timeout=30)]
print(asyncio.run(types({!r})))
"""


def python(environment, folder, code, **variables):
    """Return what a service prints."""
    env = environment.environ(**{"TASKBRIDGE_SECRET": SECRET, **variables})
    done = finished([environment.python, "-c", SERVICE, code], folder, env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_service_gets_one_sentence_for_what_it_lacks(installed, tmp_path):
    told = functools.partial(python, installed(""), tmp_path, TASKBRIDGE_URL="http://127.0.0.1:1")
    assert told("list(bridge.watch('j'))") == (
        'SettingsError: websocket-client is not installed: pip install "celery-taskbridge[client]"'
    )
    awaited = "import asyncio; asyncio.run(anext(aiter(bridge.awatch('j'))))"
    assert told(awaited) == (
        'SettingsError: aiohttp is not installed: pip install "celery-taskbridge[asyncio]"'
    )
    assert told("bridge.status('j')") == f"ResultsUnavailable: {SQL}"
    assert told("bridge.enqueue('n', owner='o')", **ON_REDIS) == f"SettingsError: {REDIS}"
    assert told("from socket_server import create_app") == (f"SettingsError: {CREATE_APP}")


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("rabbitmq", marks=pytest.mark.long),
        pytest.param("redis", marks=pytest.mark.long),
    ]
)
def variables(request, tmp_path):
    """Settings that all programs share; on each broker in turn."""
    urls = {
        "embedded": lambda: "",
        "rabbitmq": lambda: request.getfixturevalue("rabbitmq").new_vhost(),
        "redis": lambda: request.getfixturevalue("redis_server").url,
    }
    return {
        "TASKBRIDGE_BROKER_URL": urls[request.param](),
        "TASKBRIDGE_HOME": str(tmp_path / "home"),
        "TASKBRIDGE_SECRET": SECRET,
        "TASKBRIDGE_PORT": str(free_port()),
        "TASKBRIDGE_ARCHIVE_PORT": str(free_port()),
        "TASKBRIDGE_INPUT_ROOTS": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }


def healthy(port):
    """Whether the health check at a port says that all is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        pass
    return False


def archived(url, job):
    """Return the state of a job in an archive of SQLite; None while it is not there."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        row = connection.execute("SELECT state FROM archive_jobs WHERE job = ?", [job]).fetchone()
    return row and row[0]


def test_each_program_works_with_its_own_extra_alone(installed, tmp_path, variables):
    also = ["redis"] if variables["TASKBRIDGE_BROKER_URL"].startswith("redis") else []

    def has(*extras):
        return installed(",".join([*extras, *also]))

    def start(extra, *command, **more):
        environment = has(extra)
        env = environment.environ(**variables, **more)
        return Process([environment.python, "-m", *command], env=env, cwd=tmp_path, name=extra)

    (tmp_path / "some").write_text("x")
    database = f"sqlite:///{tmp_path}/archive.sqlite"
    service = functools.partial(python, folder=tmp_path, **variables)
    enqueue = f"print(bridge.enqueue('workers.jobs.checksum', [{str(tmp_path)!r}], owner='o').id)"
    celery = ["celery", "-A", "workers.app"]
    worker = [*celery, "worker", "--loglevel", "INFO", "--concurrency", "1"]
    with (
        start("server", "socket_server") as server,
        start("worker", *worker) as worker,
        start("archive", "socket_server.archive", TASKBRIDGE_ARCHIVE_URL=database) as archive,
    ):
        server.await_output("serving on", 60)
        worker.await_output(" ready.", 60)
        archive.until(lambda: healthy(variables["TASKBRIDGE_ARCHIVE_PORT"]), 60, "its health")
        job = service(has(), code=enqueue)
        assert "'succeeded'" in service(has("client"), code=WATCHED.format(job))
        assert "'succeeded'" in service(has("asyncio"), code=AWATCHED.format(job))
        listed = [has("cli").command, "jobs", "--owner", "o"]
        env = has("cli").environ(**variables)
        done = subprocess.run(
            [has("cli").python, *listed], env=env, cwd=tmp_path, capture_output=True, check=True
        )
        assert job.encode() in done.stdout
        until(lambda: archived(database, job) == "succeeded", 30, "the job in the archive")


@pytest.mark.long
def test_flower_works_with_its_extra_and_that_of_the_jobs_that_it_shows(installed, tmp_path):
    environment = installed("cli,flower,worker")
    env = environment.environ(TASKBRIDGE_HOME=str(tmp_path / "home"), PYTHONUNBUFFERED="1")
    command = [environment.python, environment.command, "flower", f"--port={(port := free_port())}"]
    with Process(command, env=env, cwd=tmp_path) as flower:
        flower.await_output("Visit me", 60)
        url = f"http://127.0.0.1:{port}/healthcheck"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200


@pytest.mark.long
def test_everything_is_what_the_demonstration_needs(installed, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_text("x")
    done = run(installed("all"), tmp_path, "demo", "--once", "--path", "some", TASKBRIDGE_URL="")
    assert done.returncode == 0, done.stdout + done.stderr
