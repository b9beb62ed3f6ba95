"""Fifty jobs that a filter finds run again once each, though the server is killed in between."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.cli.request import request
from bridge.errors import TaskbridgeError
from support.archive import ArchiveStack, new_database
from support.process import finished
from support.wait import until

JOBS = 50


def asked(stack, token, **fields):
    """Return the answer to a bulk request; None without one, since the server is killed."""
    payload = {"action": "run_again", "filter": {"state": "failed"}, **fields}
    try:
        return request(stack.bridge, "bulk", payload, token)
    except (TaskbridgeError, OSError):
        return None


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_fifty_failures_run_again_once_each_though_it_is_asked_twice_and_the_server_killed(
    request, new_stack, rabbitmq, tmp_path, kind
):
    url = new_database(kind, request)
    given = {"TASKBRIDGE_TASKS": "support.mended"}
    if kind == "postgresql":
        given["TASKBRIDGE_RESULT_URL"] = f"db+{url}"
    stack = ArchiveStack(tmp_path / "stack", rabbitmq.new_vhost(), url, **given)
    new_stack.stacks.append(stack)
    stack.start_archive()
    server = stack.start_server()
    stack.start_worker()
    folder = tmp_path / "runs"
    folder.mkdir()
    old = {
        stack.bridge.enqueue("support.mended", [str(folder), n], owner="me").id: n
        for n in range(JOBS)
    }
    hidden = stack.bridge.enqueue("support.mended", [str(folder), -1], owner="me", redact=True)
    refused = {hidden.id: "not_kept", stack.bridge.enqueue("support.fail", owner="me").id:
               "task_not_allowed"}  # fmt: skip
    token = stack.token(owner="me", scope="watch enqueue")

    def previewed():
        return asked(stack, token, preview=True)

    def all_failed():
        seen = previewed()
        return [len(seen["jobs"]), len(seen["refused"])] == [JOBS, 2]

    until(all_failed, 60, "all to have failed, and the archive to have them")
    seen = previewed()
    assert {one["job"] for one in seen["jobs"]} == old.keys()
    assert {one["job"]: one["code"] for one in seen["refused"]} == refused
    (folder / "mended").touch()
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(2) as pool:
        presses = [pool.submit(asked, stack, token, key=key) for _ in range(2)]
        until(lambda: len(list(folder.glob("run-*"))) >= 5, 30, "some to run")
        server.kill()
        assert len(list(folder.glob("run-*"))) < JOBS
        stack.start_server()
        assert [one.result(30) for one in presses] == [None, None], "killed in between"

    def whole(found):
        return found is not None and not [one for one in found["refused"] if one["temporary"]]

    until(lambda: whole(asked(stack, token, key=key)), 60, "all to be run again")
    done, again = (asked(stack, token, key=key) for _ in range(2))
    assert done == again
    assert {one["again_of"] for one in done["jobs"]} == old.keys()
    assert {one["job"]: one["code"] for one in done["refused"]} == refused
    for one in done["jobs"]:
        assert stack.bridge.status(one["job"])["again_of"] == one["again_of"]
        stack.bridge._final(one["job"], 30)
    runs = Counter(int(one.name.split("-")[1]) for one in folder.glob("run-*"))
    assert runs == dict.fromkeys(range(JOBS), 1)

    [one] = [job for job, number in old.items() if number == 7]
    printed = finished(stack.command("run-again", one, "--key", "k"), tmp_path, stack.env)
    assert printed.returncode == 0, printed.stderr
    new = printed.stdout.strip()
    until(lambda: len(list(folder.glob("run-7-*"))) == 2, 30, "it to run")
    found = ["--failed", "--name", "support.fail", "--run-again", "--yes", "--json"]
    printed = finished(stack.command("jobs", *found), tmp_path, stack.env)
    assert (printed.returncode, json.loads(printed.stdout)["code"]) == (1, "task_not_allowed")
    assert stack.bridge.status(new)["again_of"] == one
