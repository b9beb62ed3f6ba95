"""Asking workers about tasks of which no events come."""

from __future__ import annotations

import pytest

from bridge import Settings
from socket_server.liveness.worker_inspection import WorkerInspection
from support.ports import free_port
from support.stack import Stack
from support.watched import Watched


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def stack(request, tmp_path_factory):
    """A server, and a worker whose name is known, which is ended with it."""
    url = request.getfixturevalue("rabbitmq").new_vhost() if request.param == "rabbitmq" else None
    stack = Stack(tmp_path_factory.mktemp("workers"), url)
    try:
        stack.start_server()
        stack.start_worker("--hostname", "known@here", "--pool", "threads")
        yield stack
    finally:
        stack.stop()


def test_a_worker_says_which_tasks_it_runs_and_is_known_while_it_is_there(stack):
    job = Watched(stack, "support.linger", 60)
    job.pid()
    workers, worker = WorkerInspection(stack.settings), stack.processes[1]
    tasks = {job.id: "known@here", "another": "known@here", "third": None}
    assert workers.ask(tasks) == {job.id: True, "another": False, "third": False}
    worker.freeze()
    # The embedded broker knows nothing of connections.
    there = not stack.settings.embedded
    assert workers.ask(tasks) == {job.id: there, "another": there, "third": False}
    worker.thaw()
    worker.kill()
    assert workers.ask(tasks) == dict.fromkeys(tasks, False)


def test_a_broker_that_is_away_says_nothing():
    settings = Settings(broker_url=f"amqp://127.0.0.1:{free_port()}//")
    assert WorkerInspection(settings).ask({"task": "known@here"}) == {"task": None}
