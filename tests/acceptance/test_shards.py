"""Shards: each server reads its part of the events, and clients find the server of theirs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import urllib.request

import pytest

from bridge import Bridge, Settings
from bridge.bus.sharding import shard_of
from support.ports import free_port
from support.process import Process
from support.stack import Stack
from support.tools import need
from support.topology import COMPOSE
from support.wait import until

JOBS, LINES = 24, 10


class Servers:
    """One server for each shard, each an address of its own, and one worker."""

    def __init__(self, stack, shards):
        self.stack, self.shards = stack, shards
        stack.env["TASKBRIDGE_SHARDS"] = str(shards)
        net = f"127.{random.randrange(2, 250)}.{random.randrange(1, 250)}"
        self.addresses = [f"{net}.{shard + 1}" for shard in range(shards)]
        self.health_port = free_port()
        servers = [self._start(shard, address) for shard, address in enumerate(self.addresses)]
        stack.start_worker()
        for server in servers:
            server.await_output("serving on")

    def _start(self, shard, address):
        variables = {
            "TASKBRIDGE_HOST": address,
            "TASKBRIDGE_SHARD": str(shard),
            "TASKBRIDGE_TRUSTED_PROXIES": "127.0.0.1",
            "TASKBRIDGE_HEALTH_PORT": str(self.health_port),
        }
        return self.stack.start("server", sys.executable, "-m", "socket_server", **variables)

    def read(self):
        """Return how many events each server has read."""
        return [self._figure(address, "taskbridge_events_read_total") for address in self.addresses]

    def _figure(self, address, name):
        url = f"http://{address}:{self.health_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))


@pytest.fixture(scope="module")
def two(rabbitmq, tmp_path_factory):
    """The servers of two shards."""
    stack = Stack(tmp_path_factory.mktemp("two"), rabbitmq.new_vhost())
    try:
        yield Servers(stack, 2)
    finally:
        stack.stop()


def test_each_of_two_servers_reads_its_part_of_the_events(two):
    check_parts(two)


def test_each_of_four_servers_reads_its_part_of_the_events(rabbitmq, new_stack):
    check_parts(Servers(new_stack(rabbitmq.new_vhost()), 4))


def check_parts(servers):
    bridge, shards = Bridge(settings=Settings.from_environ(servers.stack.env)), servers.shards
    # As many jobs of each shard: what is asked is whether their events go where they belong.
    owners = [owner for shard in range(shards) for owner in owners_of(shard, shards)]
    before = servers.read()
    with bridge:
        jobs = [bridge.enqueue("support.talk", [LINES], owner=one) for one in owners]
        until(lambda: all(_is_over(bridge, job.id) for job in jobs), 60, "the end of all jobs")
    least = 3 * JOBS // shards  # each was queued, began and ended

    def read_by_each():
        return [now - then for now, then in zip(servers.read(), before, strict=True)]

    until(lambda: min(read_by_each()) >= least, 20, "their events")
    read = read_by_each()
    assert len(read) == shards
    assert all(0.7 < count / sum(read) * shards < 1.3 for count in read), read


def owners_of(shard, shards):
    """Return names of owners of a shard, for as many jobs as it is to have."""
    names = (f"user-{number}" for number in range(1000))
    return [name for name in names if shard_of(name, shards) == shard][: JOBS // shards]


def _is_over(bridge, job):
    return bridge.app.AsyncResult(job).ready()


@pytest.fixture(scope="module")
def balanced(two, tmp_path_factory):
    """Two shards behind the balancer of production; the environment of who goes through it."""
    servers, folder = two, tmp_path_factory.mktemp("balanced")
    secrets = folder / "secrets"
    made = [sys.executable, COMPOSE / "make_secrets.py", "--folder", secrets, "--host", "127.0.0.1"]
    subprocess.run(made, check=True, timeout=60)
    certificate, port = str(secrets / "tls_certificate"), free_port()
    first, second = (f"{address}:{servers.stack.port}" for address in servers.addresses)
    variables = {
        "TLS_CERTIFICATE": certificate,
        "HTTPS": f"127.0.0.1:{port}",
        "HTTP": f"127.0.0.1:{free_port()}",
        "STATS": f"127.0.0.1:{free_port()}",
        "MAX_CONNECTIONS": "1000",
        "HEALTH_PORT": str(servers.health_port),
        "SERVER_1": first,
        "SERVER_2": second,
    }
    files = ["-f", COMPOSE / "haproxy/haproxy.cfg", "-f", COMPOSE / "haproxy/backends/2-shards.cfg"]
    command = [need("haproxy"), "-W", "-db", *files]
    with Process(command, folder / "haproxy.log", {**os.environ, **variables}) as haproxy:
        haproxy.await_output("Loading success")
        yield (
            servers.stack,
            {
                **servers.stack.env,
                "TASKBRIDGE_URL": f"https://127.0.0.1:{port}",
                "SSL_CERT_FILE": certificate,
                "WEBSOCKET_CLIENT_CA_BUNDLE": certificate,
            },
        )


def run(balanced, *arguments, **variables):
    stack, env = balanced
    return subprocess.run(
        stack.command(*arguments), env={**env, **variables}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def test_clients_of_every_owner_find_their_server_through_the_balancer(balanced):
    for owner in ("a", "b", "c", "d"):
        done = run(
            balanced, "enqueue", "support.add", "--args", "[1, 2]", "--owner", owner, "--watch"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        listed = run(balanced, "jobs", "--owner", owner)
        assert "succeeded" in listed.stdout, listed.stderr
    assert {shard_of(owner, 2) for owner in "abcd"} == {0, 1}


#: Awaits jobs of four owners in an event loop.
AWAITED = """
import asyncio
from bridge import Bridge

async def main():
    bridge = Bridge()
    jobs = [await bridge.aenqueue("support.add", [1, 2], owner=owner) for owner in "abcd"]
    print(await asyncio.gather(*(job.result(timeout=30) for job in jobs)))

asyncio.run(main())
"""


def test_an_event_loop_awaits_jobs_of_both_shards_through_the_balancer(balanced):
    _, env = balanced
    done = subprocess.run(
        [sys.executable, "-c", AWAITED], env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[3, 3, 3, 3]\n", "")


def test_doctor_finds_the_shards_behind_the_balancer_and_a_server_on_the_wrong_one(balanced):
    until(lambda: "of 2" not in run(balanced, "doctor").stdout, 30, "both servers to be balanced")
    done = run(balanced, "doctor")
    assert done.returncode == 0, done.stdout
    assert "taskbridge.0.stream, taskbridge.1.stream" in done.stdout
    wrong = run(balanced, "doctor", TASKBRIDGE_SHARDS="1")
    assert wrong.returncode == 1
    assert "taskbridge.stream" in wrong.stdout
