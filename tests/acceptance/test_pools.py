"""In every pool of Celery's, a job reports all it has to say, and nothing of another's."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.process import kill_all
from support.stack import Stack
from support.wait import until
from support.watched import Watched

STEPS = 20
POOLS = ["prefork", "threads", "solo", "gevent", "eventlet"]
#: Pools that can end a task which does not want to.
FORCED = ["prefork", "gevent", "eventlet"]


@pytest.fixture(scope="module")
def pools(rabbitmq, tmp_path_factory):
    """Stacks, one for each pool, made when first asked for."""
    stacks = {}

    def stack_of(pool):
        if pool not in stacks:
            # A virtual host of its own, or another pool's worker would take its jobs.
            stacks[pool] = Stack(tmp_path_factory.mktemp(pool), rabbitmq.new_vhost())
            stacks[pool].start_server()
            stacks[pool].start_worker("--pool", pool)
        return stacks[pool]

    yield stack_of
    for stack in stacks.values():
        stack.stop()


def told(bridge, name):
    """Run ``support.show`` and return its events and last snapshot."""
    job = bridge.enqueue("support.show", args=[name, STEPS], owner=name)
    watcher = bridge.watch(job.id, timeout=30)
    return list(watcher), watcher.snapshot


def text_of(chunk):
    return chunk if isinstance(chunk, str) else base64.b64decode(chunk["base64"]).decode()


@pytest.mark.parametrize("pool", POOLS)
def test_two_jobs_at_once_each_show_all_of_their_own(pools, pool):
    bridge = pools(pool).bridge
    with ThreadPoolExecutor(2) as both:
        shown = dict(zip("ab", both.map(lambda name: told(bridge, name), "ab"), strict=True))
    for name, (events, snapshot) in shown.items():
        assert snapshot.state == "succeeded"
        assert snapshot.meta == {"name": name, "step": STEPS - 1}
        lines = [line["message"] for e in events for line in e["data"].get("lines", [])]
        assert lines == [f"{name} {kind} {n}" for n in range(STEPS) for kind in ("line", "record")]
        output = "".join(text_of(c) for e in events for c in e["data"].get("chunks", []))
        expected = [f"{name} text {n}\n{name} bytes {n}\n" for n in range(STEPS)]
        assert output == "".join(expected)
        bars = {bar["desc"] for e in events for bar in e["data"].get("bars", [])}
        assert bars == {f"{name} bar", f"{name} tqdm", f"{name} rich"}
        last = {bar["desc"]: (bar["n"], bar["closed"]) for bar in snapshot.bars}
        assert last[f"{name} rich"] == (20, True)
        assert not snapshot.encode()["incomplete"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_running_job_that_reports_can_be_cancelled(pools, pool, tmp_path):
    stack = pools(pool)
    job = Watched(stack, "support.work", 60, str(tmp_path / "cleaned"))
    job.until("progress")
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    assert (tmp_path / "cleaned").read_text() == "cleaned up"


@pytest.mark.parametrize("pool", FORCED)
def test_a_job_that_never_looks_is_terminated(pools, pool, tmp_path):
    stack = pools(pool)
    job = Watched(stack, "support.linger", 60, str(tmp_path / "cleaned"))
    job.pid()
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    until((tmp_path / "cleaned").exists, 30, "the finally block")


def test_a_pool_that_cannot_terminate_says_so_and_the_job_ends_as_it_will(pools, tmp_path):
    stack = pools("threads")
    job = Watched(stack, "support.held", str(tmp_path / "go"))
    job.pid()
    stack.bridge.cancel(job.id)
    job.until("cancelling")
    assert "cannot force" in job.until("cancelling")["data"]["reason"]
    assert job.watcher.snapshot.encode()["reason"]
    (tmp_path / "go").touch()
    assert job.end()["state"] == "succeeded"


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_that_waits_never_runs_once_it_was_cancelled(pools, pool, tmp_path):
    stack = pools(pool)
    busy = [Watched(stack, "support.held", str(tmp_path / "go")) for _ in range(2)]
    busy[0].pid()
    job = Watched(stack, "support.note", str(tmp_path / "ran"), 0)
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    (tmp_path / "go").touch()
    assert all(one.end()["state"] == "succeeded" for one in busy)
    job.until_celery_says("REVOKED")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("pool", POOLS)
def test_a_failure_is_told_with_its_reason(pools, pool):
    snapshot = Watched(pools(pool), "support.fail").end()
    assert snapshot["error"] == {"class": "ValueError", "message": "this was bound to fail"}


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_whose_worker_is_killed_is_run_by_another(pools, pool, tmp_path):
    """The last test of each pool: another worker goes on."""
    stack = pools(pool)
    worker = stack.processes[-1]
    job = Watched(stack, "support.held", str(tmp_path / "go"))
    job.pid()
    kill_all(worker)
    (tmp_path / "go").touch()
    stack.start_worker("--pool", pool)
    snapshot = job.end()
    assert snapshot["state"] == "succeeded"
    assert snapshot["tasks"][0]["attempt"] == 2
