"""A service and a Python client in processes of their own; by default they are of this version.

``make compatibility`` runs this with a service and a client of version 0.1.0 (``OLD_CLIENT``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from support.link import Link
from support.process import ROOT, Process
from support.wait import until

#: Folder of the code that services and clients run, if it is not this one.
CODE = os.environ.get("OLD_CLIENT") or str(ROOT)
#: Settings of the stack that 0.1.0 does not know, and refuses.
UNKNOWN = ("TASKBRIDGE_INPUT_ROOTS", "TASKBRIDGE_OUTPUT_ROOT")


class Other:
    """What services and clients of another version do with a stack.

    Args:
        stack: of this version.
        variables: of their environment.
    """

    def __init__(self, stack, **variables):
        known = {name: one for name, one in stack.env.items() if name not in UNKNOWN}
        self._environ = {**known, **variables, "PYTHONPATH": f"{CODE}:{ROOT / 'tests'}"}
        self._folder = stack.home
        self._watches = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._watches:
            process.kill()

    def command(self, name, *arguments):
        return [sys.executable, "-m", "support.other_client", name, json.dumps(arguments)]

    def ask(self, name, *arguments):
        """Return what it prints, and nothing of what its libraries log."""
        done = subprocess.run(
            self.command(name, *arguments),
            cwd=CODE,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def watch(self, job):
        log = self._folder / f"watch-{job}.log"
        self._watches.append(Process(self.command("watch", job), log, self._environ, cwd=CODE))
        return self._watches[-1]


@pytest.fixture
def other(stack):
    with Other(stack) as other:
        yield other


def told(process):
    """Return the JSON objects that a process has printed."""
    lines = process.output.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def ended(process):
    """Return events and snapshot, once a watcher has seen the end."""
    until(lambda: any("snapshot" in one for one in told(process)), 60, "the end of the watch")
    *events, last = told(process)
    assert last["recovered"]
    return events, last["snapshot"]


@pytest.mark.parametrize(
    ("name", "args", "state"),
    [
        ("support.talk", [30], "succeeded"),
        ("support.retry_once", [], "succeeded"),
        ("support.fail", [], "failed"),
    ],
)
def test_jobs_are_enqueued_watched_and_looked_up(stack, other, name, args, state):
    job = other.ask("enqueue", name, args, {})["job"]
    events, snapshot = ended(other.watch(job))
    assert snapshot["state"] == events[-1]["type"] == state
    assert len({event["cursor"] for event in events}) == len(events)
    theirs, ours = other.ask("status", job), stack.bridge.status(job)
    for key in ("state", "name", "owner", "result", "error", "done", "total"):
        assert theirs.get(key) == ours.get(key)
    if name == "support.talk":
        lines = [line["message"] for one in events for line in one["data"].get("lines", [])]
        assert lines == [f"line {number}" for number in range(30)]


def test_a_job_is_cancelled(other):
    job = other.ask("enqueue", "support.work", [60], {})["job"]
    watch = other.watch(job)
    until(lambda: any(one["type"] == "progress" for one in told(watch)), 30, "the first bar")
    other.ask("cancel", job)
    assert ended(watch)[1]["state"] == "cancelled"


def url(link):
    return f"http://127.0.0.1:{link.port}"


def test_a_client_that_is_cut_off_misses_nothing(stack, tmp_path):
    with Link(stack.port) as link, Other(stack, TASKBRIDGE_URL=url(link)) as other:
        job = other.ask("enqueue", "support.counts", [300, str(tmp_path / "file")], {})["job"]
        watch = other.watch(job)
        for number in range(1, 4):
            until(lambda number=number: len(told(watch)) > 15 * number, 30, "events")
            link.cut()
        (tmp_path / "file").touch()
        events, snapshot = ended(watch)
    assert snapshot["state"] == "succeeded"
    lines = [line["message"] for one in events for line in one["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(300)]
