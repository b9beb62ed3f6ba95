"""Clients that are cut off, servers that die, a broker that is away: nobody misses a line."""

from __future__ import annotations

import json
import pickle
import random
import threading
import time

import pytest
from amqp import Message
from kombu import Connection

from bridge.bus.stream import name_of
from bridge.client.watcher import Watcher
from bridge.protocol.event import Event
from support.link import Link
from support.ports import free_port
from support.stack import Stack
from support.wait import until

#: Reconnecting after a restart has its own pace, whatever else the machine does.
pytestmark = pytest.mark.timeout(400)

JOBS = 50
LINES = 200


@pytest.fixture
def fleet(node, tmp_path):
    """A stack with clients that go through a link."""
    stack = Stack(tmp_path, node.new_vhost())
    fleet = Fleet(stack)
    try:
        yield fleet
    finally:
        fleet.stop()


class Fleet:
    """Servers behind a link, a worker, and a client for each of many jobs."""

    def __init__(self, stack):
        self.stack = stack
        self.ports = [stack.port, free_port()]
        self.link = Link(*self.ports)
        self.servers = {}
        self.clients = []

    def start_server(self, number=0, **variables):
        port = str(self.ports[number])
        self.servers[number] = self.stack.start_server(TASKBRIDGE_PORT=port, **variables)

    def start(self, count=JOBS):
        """Enqueue jobs that log for a while, each with a client that watches it."""
        for _ in range(count):
            job = self.stack.bridge.enqueue("support.counts", args=[LINES], owner="me")
            self.clients.append(Client(self, job.id))

    def await_more(self):
        """Wait for a hundred lines; fewer if the jobs were over before a server was back."""
        enough = min(self.lines() + 100, len(self.clients) * LINES)
        until(lambda: self.lines() >= enough, 60, "some lines")

    def lines(self):
        return sum(len(client.lines) for client in self.clients)

    def check(self, timeout=240):
        """Assert that every client has seen every line once, in order, to the end."""
        until(lambda: all(c.over for c in self.clients), timeout, "the end of all clients")
        for client in self.clients:
            assert client.error is None
            assert client.lines == [f"line {number}" for number in range(LINES)]
            assert client.watcher.recovered
            assert client.watcher.snapshot.state == "succeeded"
            assert not client.watcher.snapshot.incomplete

    def stop(self):
        for client in self.clients:
            client.watcher.close()
        self.link.close()
        self.stack.stop()


class Client:
    """A thread that watches a job through the fleet's link."""

    def __init__(self, fleet, job):
        token = fleet.stack.token(jobs=[job])
        url = f"http://127.0.0.1:{fleet.link.port}"
        self.watcher = Watcher(url, token, job, timeout=60)
        self.lines, self.error, self.over = [], None, False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            for event in self.watcher:
                self.lines += [line["message"] for line in event["data"].get("lines", [])]
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error
        self.over = True


def test_clients_that_are_cut_off_at_random_miss_nothing(fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start()
    chance = random.Random(4)
    cuts = 0
    while cuts < 200 and not all(client.over for client in fleet.clients):
        fleet.link.cut_one(chance.choice)
        cuts += 1
        time.sleep(chance.uniform(0.02, 0.08))  # the rate of cuts, not a wait for anything
    assert cuts == 200
    fleet.check()


def test_a_server_that_is_killed_five_times_costs_nobody_a_line(fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(12)
    for _ in range(5):
        fleet.await_more()
        fleet.servers[0].kill()
        fleet.start_server()
    fleet.check()


def test_clients_that_move_between_two_servers_miss_nothing(fleet):
    for number in (0, 1):
        fleet.start_server(number)
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(20)
    for number in (0, 1, 0, 1):
        fleet.await_more()
        fleet.servers[number].kill()
        fleet.start_server(number)
    fleet.check()


def test_clients_that_move_to_a_server_that_is_seconds_behind_miss_nothing(node, fleet):
    fleet.start_server()
    with Link(node.port) as way:
        through = fleet.stack.settings.broker.replace(f":{node.port}/", f":{way.port}/")
        fleet.start_server(1, TASKBRIDGE_EVENTS_URL=through)
        fleet.link.point(fleet.ports[0])
        fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
        fleet.start(4)
        fleet.await_more()
        way.swallow()
        fleet.await_more()
        fleet.link.point(fleet.ports[1])
        back = time.monotonic() + 4
        until(lambda: time.monotonic() > back, 10, "the server to be seconds behind")
        way.heal()
        fleet.check()


def test_a_broker_that_is_away_for_a_while_costs_nobody_a_line(node, fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(8)
    until(lambda: fleet.lines() > 200, 60, "some lines")
    node.stop()
    back = time.monotonic() + 20
    until(lambda: time.monotonic() > back, 30, "the end of the outage")
    node.start()
    fleet.check()


def test_who_comes_back_after_its_events_are_forgotten_is_told_so(fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(1)
    [client] = fleet.clients
    until(lambda: len(client.lines) > 20, 60, "some lines")
    fleet.servers[0].kill()
    seen = len(client.lines)
    # What was published meanwhile is older than what the new server looks back for.
    until(lambda: ended(fleet, client), 60, "the end of the job")
    fleet.servers[0] = fleet.stack.start_server(TASKBRIDGE_REPLAY="0.001")
    until(lambda: client.over, 60, "the end of the client")
    assert client.lines[:seen] == [f"line {number}" for number in range(seen)]
    assert client.watcher.recovered is False
    assert client.watcher.snapshot.state == "succeeded"


def ended(fleet, client):
    return fleet.stack.bridge.app.AsyncResult(client.watcher.snapshot.job).ready()


def test_who_comes_back_to_another_stream_of_the_same_name_is_told_so(fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(1)
    [client] = fleet.clients
    until(lambda: len(client.lines) > 20, 60, "some lines")
    with Connection(fleet.stack.settings.broker) as connection:
        connection.channel().queue_delete(name_of(fleet.stack.settings.channel))
    fleet.servers[0].kill()
    fleet.start_server()
    until(lambda: client.over, 60, "the end of the client")
    assert client.lines == sorted(set(client.lines), key=client.lines.index)
    assert client.watcher.recovered is False
    assert client.watcher.snapshot.state == "succeeded"


def test_poison_on_the_bus_costs_nothing_but_a_counter(fleet):
    fleet.start_server()
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(1)
    with Connection(fleet.stack.settings.broker) as connection:
        exchange = connection.channel()
        for body in poison(fleet.clients[0].watcher.snapshot.job):
            exchange.basic_publish(Message(body), "taskbridge")
    fleet.check()
    assert fleet.stack.healthy()


def poison(job):
    """Return bodies that are no event, of each kind."""
    event = Event(job=job, task=job, type="log", at=1.0, run=2**62).encode()
    good = {"method": "emit", "event": "job", "data": [event], "namespace": "/jobs"}
    return [
        b"not JSON",
        b"\xff\xfe\x00",
        pickle.dumps({**good, "room": f"job:{job}"}),
        json.dumps({**good, "room": f"job:{job}", "data": [{"v": 1}]}).encode(),
        json.dumps({**good, "room": f"job:{job}", "data": ["x" * 5 * 1024 * 1024]}).encode(),
        json.dumps({**good, "room": "job:another"}).encode(),
        json.dumps({**good, "room": None}).encode(),
        b"[" * 100_000,
        b"",
    ]


def test_who_comes_before_any_server_and_who_comes_after_the_end_see_all_of_it(fleet):
    fleet.stack.start_worker("--concurrency", "4", "--pool", "threads")
    fleet.start(2)
    app = fleet.stack.bridge.app
    ids = [client.watcher.snapshot.job for client in fleet.clients]
    until(lambda: all(app.AsyncResult(job).ready() for job in ids), 60, "the end of the jobs")
    fleet.start_server()
    fleet.check()
    fleet.clients += [Client(fleet, job) for job in ids]
    fleet.check()
