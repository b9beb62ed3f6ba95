"""A service that used its Bridge, and then forks."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections import Counter

import kombu
import pytest

from support.forking import CHILDREN, EACH
from support.ports import free_port
from support.process import ROOT, Process
from support.wait import until


@pytest.fixture
def broker(rabbitmq):
    return Broker(rabbitmq.new_vhost())


class Broker:
    """Keeps the tasks that are enqueued, and their events."""

    def __init__(self, url):
        self.url = url
        with kombu.Connection(url) as connection:
            channel = connection.default_channel
            channel.queue_declare("seen", durable=True, auto_delete=False)
            channel.exchange_declare("taskbridge", "fanout", durable=False, auto_delete=False)
            channel.queue_bind("seen", "taskbridge")

    def environ(self):
        known = {name: value for name, value in os.environ.items() if "TASKBRIDGE" not in name}
        return {**known, "PYTHONPATH": str(ROOT / "tests"), "TASKBRIDGE_BROKER_URL": self.url}

    def tasks(self):
        """Take the tasks; return their ids."""
        return [message.headers["id"] for message in self._take("celery")]

    def queued(self):
        """Take the events; return the ids of the jobs that are said to be queued."""
        events = [json.loads(message.body)["data"][0] for message in self._take("seen")]
        return [event["job"] for event in events if event["type"] == "queued"]

    def _take(self, queue):
        with kombu.Connection(self.url) as connection:
            channel = connection.default_channel
            while message := channel.basic_get(queue, no_ack=True):
                yield channel.message_to_python(message)

    def check(self, count):
        """Raise unless so many tasks were enqueued, each once, and are all said to be queued."""
        tasks = self.tasks()
        assert len(tasks) == len(set(tasks)) == count
        assert Counter(self.queued()) == Counter(tasks)


@pytest.mark.parametrize(
    ("how", "whose"),
    [
        ("fork", "taskbridge"),
        pytest.param("fork", "own", marks=pytest.mark.long),
        pytest.param("multiprocessing", "taskbridge", marks=pytest.mark.long),
    ],
)
def test_every_task_is_queued_once_by_a_program_that_forks_while_its_threads_enqueue(
    how, whose, broker, tmp_path
):
    command = [sys.executable, "-m", "support.forking", how, whose]
    program = Process(command, tmp_path / "log", {**broker.environ(), "PYTHONWARNINGS": "ignore"})
    try:
        program.wait(120)
    finally:
        program.kill()
    told = json.loads(program.output.splitlines()[-1])
    assert told["failed"] == 0, program.output
    broker.check(told["sent"] + CHILDREN * EACH)


def test_every_task_is_queued_once_by_workers_of_gunicorn_that_share_a_preloaded_bridge(
    broker, tmp_path
):
    port = free_port()
    options = ["--preload", "--workers", "4", "--bind", f"127.0.0.1:{port}"]
    config = ["--config", "python:support.forking"]
    gunicorn = Process(
        [sys.executable, "-m", "gunicorn", "support.forking:application", *options, *config],
        tmp_path / "log",
        {**broker.environ(), "GUNICORN_PRELOAD": "1"},
    )
    try:
        until(lambda: gunicorn.output.count("all enqueued") == 4, 60, "4 workers that enqueued")
        for _ in range(8):
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30).close()
        gunicorn.stop(30)
    finally:
        gunicorn.kill()
    broker.check(EACH + 4 * EACH + 8)
