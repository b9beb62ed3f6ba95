"""From a view of each framework, served for real, a job is enqueued and watched."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest

from bridge.client.watcher import Watcher
from support.ports import free_port, is_listening

PYTHON = [sys.executable, "-m"]


def commands(port):
    """Return how each framework is served on a port."""
    return {
        "Flask": ["flask", "--app", "support.applications.flask_app", "run", "--port", port],
        "Django": ["support.applications.django_app", "runserver", "--noreload", port],
        "FastAPI": ["uvicorn", "support.applications.fastapi_app:app", "--port", port],
    }


def post(url, user):
    """Return the JSON answer to an empty POST."""
    request = urllib.request.Request(url, method="POST", headers={"X-User": user})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def result(stack, told):
    """Watch a job with what its service told of it, and return its result."""
    watcher = Watcher(stack.url, told["token"], told["job"], timeout=20)
    for _ in watcher:
        pass
    assert watcher.snapshot.state == "succeeded"
    assert watcher.snapshot.owner == "ada"
    return watcher.snapshot.encode()["result"]


@pytest.mark.parametrize("framework", ["Flask", "Django", "FastAPI"])
def test_a_view_enqueues_a_job_that_its_user_watches(stack, framework):
    port = free_port()
    command = [*PYTHON, *commands(str(port))[framework]]
    with stack.start(framework, *command, PYTHONWARNINGS="default") as server:
        server.until(lambda: is_listening(port), 30, f"{framework} to listen")
        told = post(f"http://127.0.0.1:{port}/sums", "ada")
        assert result(stack, told) == 42
        if framework == "FastAPI":
            assert post(f"http://127.0.0.1:{port}/results", "ada") == [3, 42]
        assert "Traceback" not in server.output


def test_a_plain_script_enqueues_a_job_and_may_end_before_it(stack):
    script = [*PYTHON, "support.applications.script", "ada"]
    done = subprocess.run(
        script, env=stack.env, capture_output=True, text=True, timeout=60, check=True
    )
    assert result(stack, json.loads(done.stdout)) == 42
    assert done.stderr == ""
