"""Server-sent events: curl through HAProxy, and a client in Java, which miss and repeat nothing."""

from __future__ import annotations

import json
import os
import shutil
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
from support.process import ROOT
from support.stack import Stack
from support.tools import need
from support.wait import until

LINES, CUTS = 800, 10


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    home, port = tmp_path_factory.mktemp("streams"), free_port()
    stack = Stack(home, rabbitmq.new_vhost(), TASKBRIDGE_HEALTH_PORT=str(port))
    try:
        stack.server = stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


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


@pytest.mark.skipif(
    shutil.which("javac") is None, reason="no JDK is installed: javac is not on PATH"
)
def test_the_client_in_java_gets_each_event_once_while_the_server_is_killed_three_times(stack):
    end = stack.home / "go-on"
    job = stack.bridge.enqueue("support.counts", [LINES, str(end)], owner="me")
    command = ["java", ROOT / "docs" / "examples" / "Watch.java", stack.url, job.id]
    variables = {**os.environ, "TOKEN": job.token}
    events, errors = [], stack.home / "java.log"
    with errors.open("w") as log:
        told = {"stdout": subprocess.PIPE, "stderr": log, "text": True, "env": variables}
        with subprocess.Popen(command, **told) as client:
            # The client stands still, and does not connect again, while its output fills the pipe.
            reading = threading.Thread(target=lambda: events.extend(map(json.loads, client.stdout)))
            reading.start()
            for kills in range(3):
                until(lambda kills=kills: len(events) > 3 * kills, 30, "the next events")
                stack.server.kill()
                stack.server = stack.start_server()
                stack.server.await_output("INFO watch")
            end.touch()
            reading.join(60)
    assert client.returncode == 0, errors.read_text()
    assert errors.read_text().count("reconnecting") >= 3
    assert "missing" not in errors.read_text()
    orders = [(event["run"], event["seq"], event["tick"]) for event in events]
    assert orders == sorted(set(orders))
    assert events[-1]["type"] == "succeeded"
    lines = [line["message"] for event in events for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(LINES)]
    forged = {**variables, "TOKEN": "forged"}
    refused = subprocess.run(command, env=forged, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "token" in refused.stderr


def test_curl_that_is_cut_ten_times_gets_what_a_socketio_client_beside_it_gets(stack, tmp_path):
    enough = tmp_path / "enough"
    job = stack.bridge.enqueue("support.counts_until", [str(enough)], owner="me")
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
                    elif fresh == 2:
                        enough.touch()
                id = ids[-1]
    reading.join(30)
    assert recovered == [True] * (CUTS + 1)
    assert ended == {"state": "succeeded"}
    assert seen == [event for event in beside if event["type"] != "progress"]
    lines = [line["message"] for event in seen for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(seen[-1]["data"]["result"])]
