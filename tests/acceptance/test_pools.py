"""In every pool of Celery's, a job reports all it has to say, and nothing of another's."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.stack import Stack

STEPS = 20
POOLS = ["prefork", "threads", "solo", "gevent", "eventlet"]


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def pools(request, tmp_path_factory):
    """Stacks on each broker in turn, one for each pool, made when first asked for."""
    stacks = {}

    def stack_of(pool):
        if pool not in stacks:
            # A broker of its own, or another pool's worker would take its jobs.
            node = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else None
            url = node.new_vhost() if node else None
            stacks[pool] = Stack(tmp_path_factory.mktemp(pool), url)
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


@pytest.mark.parametrize("pool", [pool for pool in POOLS if pool != "solo"])
def test_a_running_job_can_be_cancelled(pools, pool, tmp_path):
    """Not in the solo pool, whose worker listens to nobody while it runs a task."""
    bridge = pools(pool).bridge
    cleaned = tmp_path / "cleaned"
    job = bridge.enqueue("support.work", args=[60, str(cleaned)], owner="c")
    watcher = bridge.watch(job.id, timeout=30)
    for event in watcher:
        if event["type"] == "progress" and event["data"]["bars"][0]["n"] > 1:
            bridge.cancel(job.id)
            break
    for _ in watcher:
        pass
    assert watcher.snapshot.state == "cancelled"
    assert cleaned.read_text() == "cleaned up"
