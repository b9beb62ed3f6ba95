"""TLS to Redis: as broker of events and tasks, and as result backend."""

from __future__ import annotations

import logging
import re

import pytest
from redis.exceptions import ConnectionError

from bridge import Bridge
from bridge.bus import tls
from bridge.bus.write_only_manager import new_write_only_manager
from bridge.client.celery_app import new_app
from bridge.errors import BrokerUnavailable
from bridge.sending.process_emitters import close
from bridge.settings import Settings
from socket_server.bus.managers import new_manager
from socket_server.observability.counters import Counters
from support.certificates import Authority
from support.redis import Redis
from support.stack import SECRET
from support.watched import Watched

WRONG = {
    "elsewhere": "not valid for 'localhost': use a host",
    "unknown": "TASKBRIDGE_BROKER_CAFILE",
    "expired": "has expired",
    "asking": "TASKBRIDGE_BROKER_CERTFILE|reset|closed",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def start(authority, tmp_path_factory):
    """Start a Redis by what is wrong with its certificate, each once."""
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")
    servers = {}

    def sign(kind):
        if kind == "unknown":
            return stranger.sign(kind, "DNS:localhost")
        host = "elsewhere.example" if kind == "elsewhere" else "localhost"
        return authority.sign(kind, f"DNS:{host}", days=-1 if kind == "expired" else 2)

    def started(kind):
        if kind not in servers:
            asked = authority.file if kind == "asking" else None
            servers[kind] = Redis(tmp_path_factory.mktemp(kind), sign(kind), asked).start()
        return servers[kind].url

    yield started
    for server in servers.values():
        server.stop()


@pytest.fixture
def settings(start, authority, tmp_path):
    def new(kind, query="", **more):
        url = start(kind) + query
        return Settings.from_environ(
            {
                "TASKBRIDGE_HOME": str(tmp_path),
                "TASKBRIDGE_SECRET": SECRET,
                "TASKBRIDGE_BROKER_URL": url,
                "TASKBRIDGE_RESULT_URL": url,
                "TASKBRIDGE_BROKER_CAFILE": str(authority.file),
                **more,
            }
        )

    return new


def emit(settings):
    writer = new_write_only_manager(settings)
    try:
        writer.emit("event", {}, namespace="/jobs", room="job:j")
    finally:
        writer.close()


@pytest.mark.parametrize("kind", WRONG)
def test_nobody_talks_to_a_redis_that_is_not_verified_and_each_says_why(kind, settings, caplog):
    told = settings(kind)
    with pytest.raises(ConnectionError) as sent:
        emit(told)
    with pytest.raises(BrokerUnavailable) as enqueued:
        Bridge(settings=told).enqueue("any", owner="me")
    close(told, 0.0)
    with caplog.at_level(logging.WARNING), pytest.raises(ConnectionError):
        new_manager(told, Counters())._redis_connect()
    with pytest.raises(ConnectionError) as looked:
        new_app(told, told.results).backend.client.ping()
    heard = [record.getMessage() for record in caplog.records if "is away" in record.message]
    said = [tls.explain(sent.value), str(enqueued.value), *heard[-1:], tls.explain(looked.value)]
    assert len(said) == 4
    for text in said:
        assert re.search(WRONG[kind], text), text


def test_parameters_of_the_url_do_what_settings_do(settings, authority):
    mine = authority.sign("mine")
    files = {"ca_certs": authority.file, "certfile": mine.chain, "keyfile": mine.key}
    query = "&".join(f"ssl_{name}={file}" for name, file in files.items())
    told = settings("asking", f"?{query}", TASKBRIDGE_BROKER_CAFILE="")
    emit(told)
    assert new_app(told, told.results).backend.client.ping()
    emit(settings("unknown", "?ssl_cert_reqs=none"))
    emit(settings("elsewhere", "?ssl_check_hostname=false"))


def test_a_job_is_enqueued_run_and_watched_over_tls_with_its_result_there(
    settings, authority, new_stack
):
    mine, told = authority.sign("mine"), settings("right")
    stack = new_stack(
        told.broker,
        TASKBRIDGE_RESULT_URL=told.results,
        TASKBRIDGE_BROKER_CAFILE=str(authority.file),
        TASKBRIDGE_BROKER_CERTFILE=str(mine.chain),
        TASKBRIDGE_BROKER_KEYFILE=str(mine.key),
    )
    stack.start_server()
    stack.start_worker()
    job = Watched(stack, "support.add", 1, 1)
    assert job.end()["result"] == 2
    assert stack.bridge.status(job.id)["state"] == "succeeded"
