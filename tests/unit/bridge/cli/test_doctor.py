"""What ``taskbridge doctor`` makes of what a server tells."""

from __future__ import annotations

import base64
import json
import math
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bridge.cli import doctor
from bridge.client.bridge import Bridge
from bridge.settings import Settings


@pytest.fixture
def told(monkeypatch):
    """Return what doctor says of servers that answer with so far a reach."""

    def told(*reaches):
        environ = {"TASKBRIDGE_SECRET": "x" * 32, "TASKBRIDGE_SHARDS": str(len(reaches))}
        answers = [
            {"time": 0.0, "shard": shard, "shards": len(reaches), "reach": reach}
            for shard, reach in enumerate(reaches)
        ]
        monkeypatch.setattr(doctor, "_health", lambda url: answers.pop(0))
        return doctor._server({"bridge": Bridge(settings=Settings.from_environ(environ))})

    return told


def test_a_stream_that_reaches_back_less_than_a_server_replays_is_named_with_the_remedy(told):
    assert "back 0 s of TASKBRIDGE_REPLAY=3600: raise TASKBRIDGE_STREAM_BYTES" in told(0.0)
    assert "back 120 s of" in told(3600.0, 120.4)


@pytest.mark.parametrize("reach", [None, 3600.0, math.inf])
def test_nothing_is_said_of_one_that_reaches_as_far_or_is_not_known(told, reach):
    assert told(reach) == "http://127.0.0.1:8000"


def webhooks(**variables):
    environ = {f"TASKBRIDGE_{name}": text for name, text in variables.items()}
    return doctor._webhooks({"bridge": Bridge(settings=Settings.from_environ(environ))})


def test_an_endpoint_that_cannot_be_delivered_to_is_named_with_the_reason():
    secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    given = {"WEBHOOK_SECRETS": f"a={secret}", "ARCHIVE_URL": "sqlite:///a", "WEBHOOK_HTTP": "1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        given["WEBHOOKS"] = f"a=http://localhost:{server.getsockname()[1]}/"
        with pytest.raises(
            doctor.Ill, match=r"to the webhook a: its address .* is not public: TASK"
        ):
            webhooks(**given)
        assert webhooks(**given, WEBHOOK_ALLOW="127.0.0.0/8") == "a"
    with pytest.raises(doctor.Ill, match="to the webhook a: Connection refused"):
        webhooks(**given, WEBHOOK_ALLOW="127.0.0.0/8")
    with pytest.raises(doctor.Ill, match="TASKBRIDGE_ARCHIVE_URL is not set"):
        webhooks(**{**given, "ARCHIVE_URL": ""})
    assert webhooks() == "none: TASKBRIDGE_WEBHOOKS is not set"


@pytest.fixture
def api():
    """RabbitMQ's management API: what it tells by path, and the URL with a login."""
    pages, told = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            told.append(self.headers["Authorization"])
            page = pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield pages, told, f"http://me:secret@127.0.0.1:{server.server_port}/api/"
    server.shutdown()
    thread.join()
    server.server_close()


def drops(url, broker="amqp://localhost/a%2Fb"):
    environ = {"TASKBRIDGE_BROKER_URL": broker, "TASKBRIDGE_SECRET": "x" * 32}
    environ |= {"TASKBRIDGE_BROKER_API": url} if url else {}
    return doctor._drops({"bridge": Bridge(settings=Settings.from_environ(environ))})


QUEUE = "/api/queues/a%2Fb/celery"
TO_US = {"dead-letter-exchange": "", "dead-letter-routing-key": "taskbridge.dead"}
ARGUMENTS = {f"x-{name}": value for name, value in TO_US.items()}


@pytest.mark.parametrize(
    "queue", [{"effective_policy_definition": TO_US}, {"arguments": ARGUMENTS}], ids=str
)
def test_a_queue_whose_dropped_messages_come_to_workers_is_found(api, queue):
    pages, told, url = api
    pages[QUEUE] = {"type": "quorum", "arguments": {}, **queue}
    assert drops(url) == "those that queue celery drops end their jobs (taskbridge.dead)"
    assert told == ["Basic bWU6c2VjcmV0"]


def test_an_exchange_of_ones_own_that_is_bound_to_the_queue_is_found(api):
    pages, _, url = api
    pages[QUEUE] = {"effective_policy_definition": {"dead-letter-exchange": "mine"}}
    pages["/api/bindings/a%2Fb/e/mine/q/taskbridge.dead"] = []
    assert "jobs wait for ever" in drops(url)
    pages["/api/bindings/a%2Fb/e/mine/q/taskbridge.dead"] = [{}]
    assert "end their jobs (mine, taskbridge.dead)" in drops(url)


def test_a_queue_without_a_policy_is_named_with_its_delivery_limit_and_the_remedy(api):
    pages, _, url = api
    pages[QUEUE] = {"type": "quorum", "effective_policy_definition": {"delivery-limit": 7}}
    assert "delivery limit (7): set a policy that dead-letters them to taskbridge.dead" in drops(
        url
    )
    pages[QUEUE] = {"type": "classic", "effective_policy_definition": []}
    assert "jobs wait for ever" in drops(url)
    assert "delivery limit" not in drops(url)


@pytest.mark.parametrize("url", ["http://me:se/cret@localhost/", "http://127.0.0.1:1/"])
def test_what_cannot_be_asked_is_skipped_with_the_setting_and_without_a_password(url):
    with pytest.raises(doctor.Skipped, match="TASKBRIDGE_BROKER_API") as skipped:
        drops(url)
    assert "cret" not in str(skipped.value)


def test_a_queue_that_is_not_there_is_skipped_and_another_broker_drops_none(api):
    with pytest.raises(doctor.Skipped, match="Not Found"):
        drops(api[2])
    assert "none" in drops(None, "redis://localhost")
    assert "TASKBRIDGE_BROKER_API is not set" in drops(None)
