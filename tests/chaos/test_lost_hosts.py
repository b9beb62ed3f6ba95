"""Clients whose host is lost without a word: no packet comes from it, and none reaches it."""

from __future__ import annotations

import re
import sys
import urllib.request

import pytest

from support.namespace import Namespace
from support.ports import free_port
from support.process import Process
from support.wait import until

#: Heartbeat, time without an acknowledgement, and the heartbeat whose write fails: 50 s at most.
BOUND = 60.0
#: Opens a connection of each kind, and never reads of any: arguments are host, port, token and job.
CLIENTS = """
import sys, threading
from support.raw import Raw
host, port, token, job = sys.argv[1:]
def raw():
    return Raw(host, int(port), "0.0.0.0")
websocket, stream, waiting = raw(), raw(), raw()
assert websocket.open().connect(token).startswith("40/jobs,")
stream.request_head(f"GET /api/jobs/{job}/events HTTP/1.1", f"Authorization: Bearer {token}")
assert b"200 OK" in stream.socket.recv(100)
assert waiting.request("GET /healthz HTTP/1.1").status == 200
print("connected", flush=True)
threading.Event().wait()
"""


@pytest.mark.long
@pytest.mark.parametrize("mode", ["eventlet", "gevent-serve", "threading"])
def test_they_are_gone_within_a_minute_whatever_connection_they_have(
    rabbitmq, new_stack, monkeypatch, mode
):
    monkeypatch.setattr("support.stack.MODE", mode)
    health = str(free_port())
    stack = new_stack(
        rabbitmq.new_vhost(), TASKBRIDGE_HOST="0.0.0.0", TASKBRIDGE_HEALTH_PORT=health
    )
    stack.start_server()
    job = stack.bridge.enqueue("support.counts", [1], owner="me").id

    def told(name):
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics", timeout=10) as answer:
            return int(
                float(re.search(rf"^taskbridge_{name} (.*)$", answer.read().decode(), re.M)[1])
            )

    with Namespace() as host:
        given = [host.here, str(stack.port), stack.token(jobs=[job]), job]
        command = host.command(sys.executable, "-c", CLIENTS, *given)
        with Process(command, stack.home / "clients.log", stack.env) as clients:
            clients.await_output("connected")
            assert (told("event_streams"), told("clients")) == (1, 2)
            host.lose()
            until(lambda: told("clients") == told("connections") == 0, BOUND, "all to be gone")
            assert told("event_streams") == 0
            assert clients.running
