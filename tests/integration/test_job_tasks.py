"""The tasks of a canvas as a tree and a timeline: as Celery and the worker's log have them."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from urllib.parse import urlencode

from sqlalchemy import func, select

from socket_server.archive.schema import TASKS as TABLE
from support.archive import new_database
from support.mixed import CODE, MixedArchiveStack
from support.wait import until

#: Chords in the chain, and tasks of each: those of its header, and its body.
CHORDS, TASKS = 10, 30
#: Seconds by which a time may differ from the worker's log, but where a busy machine has let one of
#: both wait: as many as one in ten.
CLOSE, MOST = 0.1, 0.9
#: Lines of the worker's log: a task names its parent; Celery says at its end how long it took.
PARENT = re.compile(r"support\.noted\[(\S+)\]: child of (\S+)")
ENDED = re.compile(r"\[([-\d]+ [:\d]+,\d+): .*?support\.noted\[(\S+)\] succeeded in ([\d.e-]+)s")

#: Enqueues the canvas as a service does, in a process of its own, and prints the job's id.
SERVICE = f"""
from celery import chain, chord
from bridge import Bridge

with Bridge() as bridge:
    def noted():
        return bridge.app.signature("support.noted", immutable=True)

    chords = [chord([noted() for _ in range({TASKS - 1})], noted()) for _ in range({CHORDS})]
    print(bridge.enqueue(chain(chords), owner="somebody").id)
"""


def enqueue(stack):
    """Enqueue the canvas; return the job's id."""
    command = [sys.executable, "-c", SERVICE]
    done = subprocess.run(command, env=stack.env, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def tasks_of(stack, job):
    """Return the tasks of a job by id, from pages of a size that does not divide their number."""
    found, cursor = {}, None
    while cursor or not found:
        query = urlencode({"limit": 77, **({"cursor": cursor} if cursor else {})})
        status, page = stack.ask(f"/api/jobs/{job}/tasks?{query}", stack.token(owner="somebody"))
        assert status == 200
        found |= {one["task"]: one for one in page["tasks"]}
        cursor = page["next"]
    return found


def ended_tasks(stack, job):
    """Return the tasks of a job by id once the server has seen the end of each, else None."""
    tasks = tasks_of(stack, job)
    return tasks if all(one["ended_at"] for one in tasks.values()) else None


def logged(worker):
    """Return the parent, and the start and end of each task, as the worker's log has them."""
    parents = {task: None if one == "None" else one for task, one in PARENT.findall(worker.output)}
    times = {}
    for at, task, took in ENDED.findall(worker.output):
        end = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp()
        times[task] = end - float(took), end
    return parents, times


def shares(tasks, times):
    """Return the shares of starts and of ends that are as the worker's log has them."""
    for number, name in enumerate(["started_at", "ended_at"]):
        close = [abs(one[name] - times[one["task"]][number]) < CLOSE for one in tasks]
        yield sum(close) / len(close)


def test_a_chain_of_chords_is_a_tree_of_celerys_parents_with_the_times_of_the_workers_log(
    request, new_stack, rabbitmq, redis_server, tmp_path
):
    results = {"TASKBRIDGE_RESULT_URL": redis_server.url}
    url = new_database("sqlite", request)
    stack = MixedArchiveStack(tmp_path / "stack", rabbitmq.new_vhost(), url, **results)
    new_stack.stacks.append(stack)
    stack.start_archive()
    server, worker = stack.start_server(), stack.start_worker()
    job = enqueue(stack)
    until(lambda: stack.bridge.status(job)["state"] == "succeeded", 120, "the end of the canvas")
    live = until(lambda: ended_tasks(stack, job), 60, "the end of all tasks")
    parents, times = logged(worker)
    assert len(parents) == len(times) == CHORDS * TASKS
    if CODE["worker"]:
        parents = dict.fromkeys(parents)  # workers of 0.1.0 do not report them
    assert {one["task"]: one["parent"] for one in live.values()} == parents
    assert all(one["queued_at"] <= one["started_at"] <= one["ended_at"] for one in live.values())
    found = list(shares(live.values(), times))
    assert min(found) >= MOST, found
    ended = select(func.count()).select_from(TABLE).where(TABLE.c.state == "succeeded")
    until(lambda: stack.rows(ended) == [(len(live),)], 30, "all tasks in the archive")
    server.kill()
    stack.start_server(TASKBRIDGE_RETENTION="0.1")
    # A server that has just started reads the job's events once more, and forgets it then.
    until(lambda: stack.ask("/readyz", "")[0] == 200, 60, "all that was published to be read")
    stack.await_forgotten("somebody")
    assert tasks_of(stack, job) == live
