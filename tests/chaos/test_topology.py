"""The production shape, as plain processes: parts of it die, and nobody misses anything."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from support.crowd import Crowd
from support.topology import Topology
from support.wait import until

JOBS = int(os.environ.get("TOPOLOGY_JOBS", "500"))
#: Seconds that a job takes, and over which a server that stops sends its clients away.
SECONDS, SPREAD = 10, 4.0
#: Tasks at once of each worker.
THREADS = "150"
#: Seconds until all jobs have ended, some of them run twice.
PATIENCE = 180

pytestmark = [pytest.mark.xdist_group("topology"), pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def topology():
    topology = Topology(TASKBRIDGE_DRAIN_SPREAD=str(SPREAD))
    try:
        topology.start_brokers()
        topology.start_postgresql()
        for number in (1, 2):
            topology.start_server(f"server-{number}")
            start_worker(topology, f"worker-{number}")
        topology.start_haproxy()
        yield topology
    finally:
        topology.stop()


def start_worker(topology, name):
    return topology.start_worker(name, "--pool", "threads", "--concurrency", THREADS)


@pytest.fixture
def crowd(topology):
    crowd = Crowd(topology.url, topology.certificate)
    try:
        yield crowd
    finally:
        crowd.close()


@pytest.fixture
def jobs(topology, crowd):
    """As many jobs as clients, each watched by one."""
    with topology.bridge as bridge:
        jobs = [
            bridge.enqueue(
                "support.narrate", [random.uniform(0.6, 1) * SECONDS], owner=f"o{number}"
            )
            for number in range(JOBS)
        ]
        crowd.join([(job.id, job.token) for job in jobs])
        yield jobs


def assert_all_ended(crowd):
    until(lambda: crowd.count(lambda one: one.over) == JOBS, PATIENCE, "the end of all jobs")
    unlike = [one.snapshot.encode() for one in crowd.members if one.snapshot.state != "succeeded"]
    assert unlike[:3] == []
    assert crowd.faults() == {}


def end_some(crowd, share):
    """Wait until a part of the jobs has ended, so that there is work while something happens."""
    wanted = int(share * JOBS)
    until(lambda: crowd.count(lambda one: one.over) >= wanted, PATIENCE, f"{wanted} jobs to end")


@pytest.mark.usefixtures("jobs")
def test_a_node_a_server_a_worker_die_and_the_database_restarts_and_every_job_ends(topology, crowd):
    end_some(crowd, 0.05)
    topology.processes["rabbitmq-2"].kill()
    end_some(crowd, 0.15)
    topology.start_broker("rabbitmq-2")
    topology.await_broker("rabbitmq-2")
    topology.processes["server-1"].kill()
    end_some(crowd, 0.3)
    topology.start_server("server-1")
    topology.processes["worker-1"].kill()
    end_some(crowd, 0.45)
    start_worker(topology, "worker-1")
    topology.processes["postgresql"].signal(signal.SIGINT)  # PostgreSQL's fast shutdown
    topology.processes["postgresql"].wait(30)
    topology.start_postgresql()
    assert_all_ended(crowd)


@pytest.mark.usefixtures("jobs")
def test_servers_and_workers_are_restarted_in_turn_and_nobody_misses_an_event(topology, crowd):
    end_some(crowd, 0.05)
    for number in (1, 2):
        gone = drained(topology, crowd, f"server-{number}")
        assert_spread(gone)
        topology.start_server(f"server-{number}")
    for number in (1, 2):
        assert topology.processes[f"worker-{number}"].stop(40) in (0, -signal.SIGKILL)
        start_worker(topology, f"worker-{number}")
    assert_all_ended(crowd)


def drained(topology, crowd, name):
    """Ask a server to stop; return when it sent its clients away, in seconds from then."""
    begun = time.monotonic()
    process = topology.processes[name]
    process.signal(signal.SIGTERM)
    assert process.wait(SPREAD + 15) == 0
    until(lambda: crowd.count(lambda one: one.connected) == JOBS, 30, "all clients to be back")
    return sorted(at - begun for one in crowd.members for at in one.losses if at > begun)


def assert_spread(gone):
    assert len(gone) > JOBS / 5, "it had its share of the clients"
    assert gone[-1] < SPREAD + 3
    quarters = [
        sum(quarter <= 4 * one / SPREAD < quarter + 1 for one in gone) for quarter in range(4)
    ]
    # A server that is busy is late, but never early, and never all at once.
    assert max(quarters) < len(gone) / 2
