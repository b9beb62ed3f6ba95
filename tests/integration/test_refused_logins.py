"""A broker that refuses the login is one sentence, in each program, and no traceback."""

from __future__ import annotations

import os
import sys

import pytest

from bridge import BrokerUnavailable
from support.process import ROOT, Process, finished
from support.stack import Stack

LOGIN = "the broker refuses the login: correct the user and the password in "
OURS, THEIRS = f"{LOGIN}TASKBRIDGE_BROKER_URL", f"{LOGIN}the application's broker_url"
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
COMMAND, CELERY = ["-m", "bridge.cli"], ["-m", "celery", "-A"]
SHOP = """
import bridge
from celery import Celery

app = Celery("shop", broker={url!r})
bridge.install(app, durable={durable})
"""


@pytest.fixture(scope="module")
def url(rabbitmq):
    """URL of a broker, with a wrong password."""
    return rabbitmq.new_vhost().replace("guest:guest", "guest:wrong")


def run(folder, arguments, **variables):
    env = {**Stack(folder / "stack").env, "PYTHONPATH": PATH, **variables}
    return finished([sys.executable, *arguments], folder, env)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([*COMMAND, "enqueue", "shop.add", "--owner", "o"], 1),
        ([*COMMAND, "worker"], 1),
        ([*COMMAND, "flower"], 1),
        ([*COMMAND, "doctor"], 1),
    ],
)
def test_a_command_says_that_the_login_is_refused(url, tmp_path, arguments, status):
    done = run(tmp_path, arguments, TASKBRIDGE_BROKER_URL=url)
    assert done.returncode == status
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if LOGIN in line]
    assert OURS in line
    assert "wrong" not in line
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("durable", [False, True])
def test_an_application_s_own_worker_ends_and_says_that_the_login_is_refused(
    url, tmp_path, durable
):
    (tmp_path / "shop.py").write_text(SHOP.format(url=url, durable=durable))
    done = run(tmp_path, [*CELERY, "shop", "worker"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"taskbridge: {THEIRS}"
    assert "Traceback" not in done.stdout + done.stderr


def test_a_service_gets_an_error_that_says_it(url, tmp_path):
    bridge = Stack(tmp_path / "stack", url).bridge
    with pytest.raises(BrokerUnavailable, match=OURS):
        bridge.enqueue("shop.add", owner="o")


def test_a_server_waits_until_the_login_is_accepted(url, tmp_path):
    stack = Stack(tmp_path / "stack", url)
    command = stack.server_command()
    with Process(command, tmp_path / "log", stack.env, name="server") as server:
        server.await_output(stack.listening)
        assert not stack.healthy()
        server.await_output(f"trying again: {OURS}")
        assert "Traceback" not in server.output
