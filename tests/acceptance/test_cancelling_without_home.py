"""A cancel needs no folder: TASKBRIDGE_HOME may be unwritable, gone, or relative to another one."""

from __future__ import annotations

import shutil

import pytest

from support.process import ROOT
from support.stack import Stack
from support.wait import until
from support.watched import Watched

# Celery's Redis backend calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")

#: Below a file there is no folder, for root neither.
NOWHERE = "/dev/null/home"
RELATIVE = "a-home-that-nobody-makes"
#: Pools that can end a task which does not want to.
FORCED = ["prefork", "gevent", "eventlet"]
GREEN_AND_SOLO = ("solo", "gevent", "eventlet")


@pytest.fixture(scope="module")
def served(rabbitmq, redis_server, tmp_path_factory):
    """A server on RabbitMQ, with results in Redis."""
    home = tmp_path_factory.mktemp("without-home")
    url = redis_server.url.replace("/0", "/3")
    stack = Stack(home, rabbitmq.new_vhost(), TASKBRIDGE_RESULT_URL=url)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(served):
    """The server alone; workers end with the test."""
    yield served
    for worker in served.processes[1:]:
        worker.kill()


def assert_ends_by_itself(stack, folder, task="support.work", *arguments):
    cleaned = folder / f"{task} cleaned"
    job = Watched(stack, task, 600, *arguments, str(cleaned))
    job.until("progress")
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    assert cleaned.read_text() == "cleaned up"


def assert_is_terminated(stack, folder):
    cleaned = folder / "terminated"
    job = Watched(stack, "support.linger", 600, str(cleaned))
    job.pid()
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    until(cleaned.exists, 30, "the finally block")


@pytest.mark.parametrize(
    "pool",
    ["prefork", "threads", *(pytest.param(p, marks=pytest.mark.long) for p in GREEN_AND_SOLO)],
)
def test_a_worker_whose_home_cannot_be_written_to_cancels_in_each_pool(stack, pool, tmp_path):
    app = "support.own_app" if pool == "prefork" else "workers.app"
    stack.start_worker("--pool", pool, app=app, TASKBRIDGE_HOME=NOWHERE)
    assert_ends_by_itself(stack, tmp_path)
    if pool in FORCED:
        assert_is_terminated(stack, tmp_path)


def test_a_task_that_moves_to_another_folder_is_cancelled_in_processes_that_come_and_go(
    stack, tmp_path
):
    options = ["--autoscale", "3,1", "--max-tasks-per-child", "1"]
    stack.start_worker(*options, TASKBRIDGE_HOME=RELATIVE)
    others = [Watched(stack, "support.linger", 600) for _ in range(2)]
    for job in others:
        job.pid()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert_ends_by_itself(stack, folder, "support.wander", str(folder))
    for job in others:
        stack.bridge.cancel(job.id)
        assert job.end()["state"] == "cancelled"
    assert not (ROOT / RELATIVE).exists()


def test_a_worker_whose_home_is_removed_while_it_runs_cancels(stack, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    stack.start_worker(TASKBRIDGE_HOME=str(home))
    shutil.rmtree(home)
    assert_ends_by_itself(stack, tmp_path)
    assert_is_terminated(stack, tmp_path)
    assert not home.exists()
