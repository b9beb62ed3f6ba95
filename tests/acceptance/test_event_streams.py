"""Server-sent events through HAProxy, read by curl, which is cut off again and again."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager

import pytest

from bridge.client.watcher import Watcher
from support.balancer import start_balancer
from support.documents import blocks
from support.event_stream import parsed
from support.link import Link
from support.ports import free_port
from support.tools import need

LINES, CUTS = 400, 10


@pytest.fixture
def stack(rabbitmq, new_stack):
    stack = new_stack(rabbitmq.new_vhost(), TASKBRIDGE_HEALTH_PORT=str(free_port()))
    stack.start_server()
    stack.start_worker()
    return stack


@contextmanager
def curl(port, job, after):
    """Yield the events that curl prints, called as the docs say, until its connection ends."""
    need("curl")
    [block] = [one for one in blocks("sh") if one.text.startswith("curl -N")]
    text = block.text.replace("https://jobs.example.com", f"http://127.0.0.1:{port}")
    variables = {**os.environ, "TOKEN": job.token, "JOB": job.id, "LAST": after}
    command = ["bash", "-c", f"exec {text}"]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=variables, text=True, **quiet) as process:
        ids = [after]
        yield parsed((line.rstrip("\n") for line in process.stdout), after, ids.append), ids
        process.kill()


def test_curl_that_is_cut_ten_times_gets_what_a_socketio_client_beside_it_gets(stack):
    job = stack.bridge.enqueue("support.counts", [LINES], owner="me")
    beside, seen = [], []
    watcher = Watcher(stack.url, job.token, job.id, timeout=60)
    reading = threading.Thread(target=lambda: beside.extend(watcher), daemon=True)
    reading.start()
    id, recovered, ended = "", [], None
    with Link(start_balancer(stack)) as link:
        for number in range(CUTS + 1):
            with curl(link.port, job, id) as (events, ids):
                for one in events:
                    if one.event == "snapshot":
                        recovered.append(one.data["recovered"])
                        fresh = 0
                    elif one.event == "job" and one.data["type"] != "progress":
                        seen.append(one.data)
                        fresh += 1
                    elif one.event == "end":
                        ended = one.data
                    if number < CUTS and fresh == 2:
                        link.cut()
                id = ids[-1]
    reading.join(30)
    assert recovered == [True] * (CUTS + 1)
    assert ended == {"state": "succeeded"}
    assert seen == [event for event in beside if event["type"] != "progress"]
    lines = [line["message"] for event in seen for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(LINES)]
