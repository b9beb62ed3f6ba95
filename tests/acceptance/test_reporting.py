"""What a job reports, and what libraries that know nothing of taskbridge report for it."""

from __future__ import annotations

import pytest

from bridge.sending.outbox import MAX_BYTES
from support.wait import until

FLOOD = 1_000_000


@pytest.fixture
def run(stack, tmp_path):
    """Run a job that begins once it is watched: progress of before is in no event that follows."""

    def run(name, *args):
        begin, events = tmp_path / "begin", []
        job = stack.bridge.enqueue(
            f"support.{name}", args=list(args), kwargs={"begin": str(begin)}, owner="me"
        )
        watcher = stack.bridge.watch(job.id, timeout=30)
        for event in watcher:
            begin.touch()
            events.append(event)
        return events, watcher.snapshot.encode()

    return run


def lines(events):
    return [line["message"] for event in events for line in event["data"].get("lines", [])]


def test_bars_of_libraries_are_seen_without_any_code(run):
    events, snapshot = run("libraries", 50)
    assert snapshot["state"] == "succeeded", snapshot["error"]
    seen = {}
    for event in events:
        for bar in event["data"].get("bars", []):
            seen.setdefault(bar["desc"], []).append(bar["n"])
            assert bar["total"] == 50
    # Each takes the line of the one before it, maybe before its last step was sampled.
    assert list(seen) == ["pandas", "thread_map", "tqdm_class", "track"]
    for counts in seen.values():
        assert counts == sorted(counts)
        assert len(set(counts)) > 1
    [last] = snapshot["bars"]
    assert (last["desc"], last["n"], last["closed"]) == ("track", 50, True)


def test_what_forked_children_report_arrives_in_order_once(run):
    events, snapshot = run("fork", 10, 500)
    assert (snapshot["state"], snapshot["result"]) == ("succeeded", 5000)
    said = lines(events)
    assert said[0] == "parent"
    assert len(said) == 5001
    for child in range(10):
        mine = [line for line in said if line.startswith(f"{child} ")]
        assert mine == [f"{child} {number}" for number in range(500)]
    bars = [bar for event in events for bar in event["data"].get("bars", [])]
    # Each is there for moments, of which some are sampled.
    seen = {bar["desc"] for bar in bars}
    assert seen
    assert seen <= {f"child {child}" for child in range(10)}
    assert all(bar["closed"] for bar in snapshot["bars"])


def test_a_flood_of_lines_keeps_the_newest_and_counts_what_it_drops(stack):
    watcher = stack.bridge.watch(
        stack.bridge.enqueue("support.flood", args=[FLOOD], owner="me").id, timeout=30
    )
    events, snapshot = list(watcher), watcher.snapshot.encode()
    said = [int(line.removeprefix("line ")) for line in lines(events)]
    assert said[-1] == FLOOD - 1
    assert said == sorted(set(said))
    # On a quick machine, nothing: the sender keeps up. A client that is slower than the flood is
    # hung up on, and told when it is back if the server has not kept all that it missed.
    missing = FLOOD - len(said) - snapshot["dropped"]
    assert missing == 0 or (missing > 0 and not watcher.recovered)
    # What is gathered and encoded at the moment, and Python's own needs, come on top of the bound.
    assert snapshot["result"] < 2 * MAX_BYTES
    assert not snapshot["incomplete"]


def test_a_running_tasks_info_is_its_progress_and_its_final_state_stays(stack):
    job = stack.bridge.enqueue("support.slow", args=[4], owner="me")
    result = stack.bridge.app.AsyncResult(job.id)
    seen = []

    def look():
        meta = result.backend.get_task_meta(job.id, cache=False)
        if meta["status"] == "PROGRESS" and meta["result"] not in seen:
            seen.append(meta["result"])
        return meta["status"] == "SUCCESS"

    until(look, 30, "the end of the job")
    assert all(
        info.keys() == {"pending", "current", "total", "percent", "description"} for info in seen
    )
    assert [info["percent"] for info in seen] == sorted({info["percent"] for info in seen})
    assert 2 <= len(seen) <= 5
    assert seen[-1]["description"] == "slow"
    assert (result.state, result.info) == ("SUCCESS", "done")


def test_a_task_says_itself_what_is_captured_of_it(run):
    events, _ = run("prints")
    assert "".join(chunk for event in events for chunk in event["data"].get("chunks", [])) == (
        "hello\nworld\n"
    )
    assert lines(events) == []
    assert not any(event["data"].get("bars") for event in events)


def test_each_attempt_has_steps_of_its_own_which_end_with_it_and_hold_bars_and_lines(run):
    events, snapshot = run("steps", 100)
    assert snapshot["state"] == "failed"
    [task] = snapshot["tasks"]
    names = {step["id"]: step["name"] for step in task["steps"]}
    told = [
        (step["name"], step["state"], names.get(step["parent"]))
        for step in task["steps"]
        if not step["name"].startswith("row ")
    ]
    assert told == [
        ("download", "succeeded", None),
        ("check", "failed", None),
        ("left open", "failed", "check"),
    ]
    assert len(task["steps"]) + task["steps_omitted"] == 103
    assert all(step["started_at"] <= step["ended_at"] for step in task["steps"])
    [bar] = snapshot["bars"]
    assert names[bar["step"]] == "download"
    first = next(event["run"] for event in events if event["type"] == "started")
    # Of progress events that a server reads together, it sends the newest alone.
    before = [step["name"] for event in events if event["run"] == first
              for step in event["data"].get("steps", [])]  # fmt: skip
    assert set(before) <= {"download"}
    said = [event["data"] for event in events if event["type"] in ("log", "output")]
    assert [list(data["step_names"].values()) for data in said] == [
        ["download"],
        ["download"],
        ["check"],
    ]
    assert not snapshot["incomplete"]
