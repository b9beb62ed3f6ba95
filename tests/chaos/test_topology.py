"""The production shape, as plain processes: what operators see of it, and what dies in it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.wanted import ArchiveUnavailable
from support.crowd import Crowd
from support.topology import COMPOSE, NODES, Topology
from support.wait import until

JOBS = int(os.environ.get("TOPOLOGY_JOBS", "100"))
#: Seconds that a job takes, and over which a server that stops sends its clients away.
SECONDS, SPREAD = 10, 4.0
#: Tasks at once of each worker: of all jobs, three in ten.
THREADS = str(JOBS * 3 // 10)
#: Folders with the programs of releases of RabbitMQ, to which the nodes are upgraded in turn.
RELEASES = [Path(one) for one in os.environ.get("RABBITMQ_RELEASES", "").split(os.pathsep) if one]
#: Seconds until all jobs have ended, some of them run twice.
PATIENCE = 180

pytestmark = [
    pytest.mark.timeout(420),
    # asyncio leaves a connection that is cut within its TLS handshake to the garbage collector,
    # and the servers here end while hundreds of clients shake hands (cpython 90476, aiohttp 6071).
    pytest.mark.filterwarnings("ignore:unclosed.*(socket|Transport):ResourceWarning"),
]


@pytest.fixture(scope="module")
def topology():
    topology = Topology(TASKBRIDGE_DRAIN_SPREAD=str(SPREAD))
    try:
        topology.start_brokers()
        topology.start_postgresql()
        topology.start_archive()
        for number in (1, 2):
            topology.start_server(f"server-{number}")
            start_worker(topology, f"worker-{number}")
        topology.start_haproxy()
        topology.start_flower()
        topology.start_prometheus()
        yield topology
    finally:
        topology.stop()


def start_worker(topology, name):
    return topology.start_worker(name, "--pool", "threads", "--concurrency", THREADS)


@pytest.fixture
def job(topology):
    """A job that runs for a while, and is cancelled at the end."""
    with topology.bridge as bridge:
        job = bridge.enqueue("support.narrate", [60], owner="user-42")
        yield job
        bridge.cancel(job.id)


def login(topology):
    return (topology.secrets / "flower_login").read_text()


def ask_flower(topology, path):
    request = urllib.request.Request(f"http://{topology.ip['flower']}:5555{path}")
    request.add_header("Authorization", "Basic " + b64encode(login(topology).encode()).decode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def test_flower_shows_a_running_task_in_progress_and_finds_it_by_its_owner(topology, job, browser):
    def told():
        tasks = json.loads(ask_flower(topology, "/api/tasks?limit=100"))
        return tasks.get(job.id, {}).get("state") == "PROGRESS"

    until(told, 40, "Flower to know of the progress")
    user, _, password = login(topology).partition(":")
    context = browser.new_context(http_credentials={"username": user, "password": password})
    try:
        page = context.new_page()
        page.goto(f"http://{topology.ip['flower']}:5555/task/{job.id}")
        text = page.inner_text("body")
        assert "PROGRESS" in text
        assert re.search(r"\d+% · [\d,]+/120 line · story", text)
        assert f"job={job.id} owner=user-42" in text
        page.goto(f"http://{topology.ip['flower']}:5555/tasks")
        page.get_by_text("PROGRESS").first.wait_for()
    finally:
        context.close()
    found = ask_flower(topology, f"/tasks/datatable?{DATATABLE}&search[value]={quote('user-42')}")
    assert job.id in found


#: What Flower's page asks for its list.
DATATABLE = "draw=1&start=0&length=10&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"


def test_flower_knows_how_long_the_queues_are_and_lets_nobody_in_without_a_login(topology):
    assert "celery" in ask_flower(topology, "/api/queues/length")
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        urllib.request.urlopen(f"http://{topology.ip['flower']}:5555/api/tasks", timeout=5)
    caught.value.close()


def test_prometheus_scrapes_every_target_and_its_rules_are_loaded(topology, job):
    def query(path):
        return topology.get(f"http://{topology.ip['prometheus']}:9090/api/v1/{path}")["data"]

    def scraped():
        targets = query("targets?state=active")["activeTargets"]
        away = {one["labels"]["job"] for one in targets if one["health"] != "up"}
        return len(targets) == 9 and not away

    until(scraped, 60, "all targets to be scraped")
    [group] = query("rules")["groups"]
    assert len(group["rules"]) == 20
    clients = query(f"query?query={quote('sum(taskbridge_journal_jobs)')}")["result"]
    assert float(clients[0]["value"][1]) >= 1, job.id


def test_every_figure_of_dashboard_and_alerts_is_one_that_there_is(topology, job):
    with topology.bridge as bridge:
        done = bridge.enqueue("support.add", [1, 2], owner="user-42")
        until(lambda: bridge.app.AsyncResult(done.id).ready(), 30, "a job to end")
    text = (COMPOSE / "grafana/dashboards/taskbridge.json").read_text()
    text += (COMPOSE / "prometheus/alerts.yml").read_text()
    used = set(re.findall(r"\b(taskbridge_\w+|process_\w+)\b", text)) - {"taskbridge_"}
    wanted = {re.sub(r"_bucket$", "", name) for name in used} - {"taskbridge_limit_hits_total"}
    # Half a minute after its start, a server knows how far back the stream reaches.
    until(lambda: not missing(topology, wanted), 60, f"all of {sorted(wanted)} with {job.id}")


def missing(topology, wanted):
    """Return the figures that neither a server nor the archive has."""
    return wanted - exposed(topology, "server-1:8001") - exposed(topology, "archive:8002")


def exposed(topology, target):
    """Return the names of a program's figures, those included of which there is no value yet."""
    host, _, port = target.partition(":")
    url = f"http://{topology.ip[host]}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        names = re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


@pytest.fixture
def crowd(topology):
    crowd = Crowd(topology.url, topology.certificate)
    try:
        yield crowd
    finally:
        crowd.close()


@pytest.fixture
def jobs(topology, crowd, request):
    """As many jobs as clients, each watched by one."""
    with topology.bridge as bridge:
        jobs = [
            bridge.enqueue(
                "support.narrate", [random.uniform(0.6, 1) * SECONDS], owner=f"o{number}"
            )
            for number in range(getattr(request, "param", JOBS))
        ]
        crowd.join([(job.id, job.token) for job in jobs])
        yield jobs


def assert_all_ended(crowd):
    def left():
        return [one.describe() for one in crowd.members if not one.over][:3]

    assert_comes(left, PATIENCE, [])
    unlike = [one.snapshot.encode() for one in crowd.members if one.snapshot.state != "succeeded"]
    assert unlike[:3] == []
    assert crowd.faults() == {}


def assert_archived(topology, jobs):
    """Wait until the archive has the end of each job; check that it missed no event of them."""

    def unlike():
        try:
            found = search.snapshots([job.id for job in jobs]).values()
        except ArchiveUnavailable as error:  # what the test ended is on its way back
            return [str(error)]
        snapshots = [json.loads(one) for one in found]
        other = [one for one in snapshots if one["state"] != "succeeded" or one.get("incomplete")]
        return [len(snapshots), other[:3]]

    with closing(ArchiveSearch((topology.secrets / "server_archive_url").read_text())) as search:
        assert_comes(unlike, 60, [len(jobs), []])


def assert_comes(ask, timeout, expected):
    """Wait until ``ask`` returns what is expected; show what it returned if it never does."""
    deadline = time.monotonic() + timeout
    until(lambda: ask() == expected or time.monotonic() > deadline, 2 * timeout)
    assert ask() == expected


def end_some(crowd, share):
    """Wait until a part of the jobs has ended, so that there is work while something happens."""
    wanted = int(share * len(crowd.members))
    until(lambda: crowd.count(lambda one: one.over) >= wanted, PATIENCE, f"{wanted} jobs to end")


def test_programs_die_and_the_database_restarts_and_every_job_ends(topology, crowd, jobs):
    end_some(crowd, 0.05)
    topology.processes["rabbitmq-2"].kill()
    end_some(crowd, 0.15)
    topology.start_broker("rabbitmq-2")
    topology.await_broker("rabbitmq-2")
    topology.processes["server-1"].kill()
    end_some(crowd, 0.3)
    topology.start_server("server-1")
    topology.processes["worker-1"].kill()
    topology.processes["archive"].kill()
    end_some(crowd, 0.45)
    start_worker(topology, "worker-1")
    topology.processes["postgresql"].signal(signal.SIGINT)  # PostgreSQL's fast shutdown
    topology.processes["postgresql"].wait(30)
    topology.start_postgresql()
    topology.start_archive()
    assert_all_ended(crowd)
    assert_archived(topology, jobs)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nodes_are_restarted_in_turn_as_for_an_upgrade_and_nothing_is_lost(topology, crowd):
    """They are upgraded to each of ``RABBITMQ_RELEASES``, if that names any."""
    jobs, versions = [], [topology.version(NODES[0])]
    for release in RELEASES or [None]:
        enable_features(topology)
        for node in NODES:
            jobs += enqueue(topology, crowd, JOBS // 5)
            until(lambda: is_spare(topology, node), 60, f"others to have what {node} has")  # noqa: B023
            topology.processes[node].stop(60)
            if release is not None:
                topology.releases[node] = release
            topology.start_broker(node)
            topology.await_broker(node)
        assert {topology.version(node) for node in NODES} == {topology.version(NODES[0])}
        versions.append(topology.version(NODES[0]))
    enable_features(topology)
    jobs += enqueue(topology, crowd, JOBS // 5)
    assert len(set(versions)) == len(RELEASES) + 1, versions
    assert_all_ended(crowd)
    assert_archived(topology, jobs)


def enqueue(topology, crowd, number):
    """Enqueue jobs, each watched by a client of its own."""
    with topology.bridge as bridge:
        jobs = [
            bridge.enqueue("support.narrate", [random.uniform(1, 3) * SECONDS], owner=f"o{one}")
            for one in range(number)
        ]
    crowd.join([(job.id, job.token) for job in jobs])
    return jobs


def enable_features(topology):
    """Enable all features, as RabbitMQ's makers ask for before and after each upgrade."""
    topology.control(NODES[0], "rabbitmqctl", "enable_feature_flag", "all")
    if topology.version(NODES[0]) >= (4, 2):  # 4.3 needs it; 3.13 cannot be upgraded with it
        topology.control(NODES[0], "rabbitmqctl", "enable_feature_flag", "khepri_db")


def is_spare(topology, node):
    """Whether queues and streams have a majority without a node, as RabbitMQ sees it."""
    try:
        topology.control(node, "rabbitmq-queues", "check_if_node_is_quorum_critical")
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("jobs", [JOBS // 2], indirect=True)
@pytest.mark.usefixtures("jobs")
def test_servers_and_workers_are_restarted_in_turn_and_nobody_misses_an_event(topology, crowd):
    end_some(crowd, 0.05)
    for number in (1, 2):
        gone = drained(topology, crowd, f"server-{number}")
        assert_spread(gone, len(crowd.members) / 2)
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
    assert process.wait(SPREAD + 60) == 0
    until(
        lambda: crowd.count(lambda one: one.connected) == len(crowd.members), 30, "all to be back"
    )
    return sorted(at - begun for one in crowd.members for at in one.losses if at > begun)


def assert_spread(gone, fair):
    assert len(gone) > fair / 2, "it had its share of the clients"
    # A machine that is busy is late, but not with all of them, nor all at once.
    assert gone[len(gone) * 9 // 10] < SPREAD + 8
    quarters = Counter(int(4 * one / SPREAD) for one in gone)
    assert max(quarters.values()) < len(gone) * 3 / 4, quarters
