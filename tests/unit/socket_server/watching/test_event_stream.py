"""Event streams: how each begins and ends, and that it is a client like others."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
from werkzeug.test import Client, EnvironBuilder

from bridge import tokens
from bridge.protocol.event import Event
from socket_server.messages.server_sent import HEARTBEAT
from socket_server.watching import event_stream, job_lookup
from support.event_stream import parsed
from support.lone_server import SECRET, new_lone_server
from support.wire import flaws

PATH = "/api/jobs/j/events"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(job_lookup, "FIRST_EVENT", 0.0)
    server = new_lone_server(max_connections_per_owner=2, max_backlog=4096)
    publish(server, 0, "started")
    return server


def publish(server, seq, type, job="j", **data):
    event = Event(
        job=job,
        task=job,
        name="n",
        owner="me",
        type=type,
        at=time.time(),
        run=1,
        seq=seq,
        data=data,
    )
    server.manager.on_event(event, seq, live=True, late=False)


def token(**claims):
    return tokens.sign([SECRET], **{"owner": "me", "scope": "watch", **claims})


class Stream:
    """An answer that a test reads as far as it likes."""

    def __init__(self, server, path=PATH, **headers):
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.environ = EnvironBuilder(path, headers=told).get_environ()
        self.status = ""
        self._body = server.wsgi(self.environ, self._start)
        self.pieces, self.ids = iter(self._body), []

    def _start(self, status, headers, *_):
        self.status, self.headers = status, dict(headers)
        return lambda data: None

    def read(self, count=1000):
        """Read so many pieces, or all, as events."""
        text = b"".join(islice(self.pieces, count))
        return list(parsed(text.decode().split("\n"), "", self.ids.append))

    def close(self):
        self._body.close()


def stream(server, path=PATH, **headers):
    return Stream(server, path, Authorization=f"Bearer {token()}", **headers)


def assert_none_is_left(server):
    assert not server.sio.eio.sockets
    assert not server.sio.environ
    assert len(server.jobs.clients) == server.jobs.clients.streams == 0
    assert len(server.sio.eio.addresses) <= 1, "the rate of an address alone is kept for a while"


def test_a_stream_ends_when_the_job_has_and_a_client_that_knows_it_gets_no_more(server):
    one = stream(server)
    assert one.status == "200 OK"
    assert one.headers["Content-Type"] == "text/event-stream"
    assert "no-store" in one.headers["Cache-Control"]
    assert one.headers["X-Accel-Buffering"] == "no"
    assert [told.event for told in one.read(2)] == ["snapshot", "job"]
    publish(server, 1, "log", lines=[{"at": 1.0, "level": "INFO", "message": "x"}])
    publish(server, 2, "succeeded", result=7)
    told = one.read()
    assert flaws(told[-1].data, "StreamEnd") == []
    assert [(one.event, one.data.get("type")) for one in told] == [
        ("job", "log"),
        ("job", "succeeded"),
        ("end", None),
    ]
    one.close()
    assert stream(server, Last_Event_ID=one.ids[-1]).status == "204 NO CONTENT"
    assert_none_is_left(server)


def test_a_client_that_has_not_been_told_the_end_gets_it(server):
    publish(server, 1, "succeeded", result=7)
    first = stream(server)
    cursor = first.read()[1].id
    first.close()
    for again in (
        stream(server, Last_Event_ID=cursor),
        stream(server, f"{PATH}?cursor={cursor}"),
    ):
        snapshot, event, end = again.read()
        assert flaws(snapshot.data, "StreamSnapshot") == []
        assert snapshot.data["recovered"]
        assert snapshot.data["snapshot"]["state"] == "succeeded"
        assert (event.data["type"], end.event) == ("succeeded", "end")
        again.close()
    assert_none_is_left(server)


def test_a_job_that_goes_on_after_its_end_was_told_is_streamed_on(server):
    publish(server, 1, "failed", error={"class": "E", "message": "m"}, retry=True)
    one = stream(server)
    one.read()
    one.close()
    event = Event(
        job="j", task="j", name="n", owner="me", type="started", at=time.time(), run=2, seq=0,
        data={"attempt": 2, "redelivered": True},
    )  # fmt: skip
    server.manager.on_event(event, 2, live=True, late=False)
    assert server.journal.of("j").state == "running"
    again = stream(server, Last_Event_ID=one.ids[-1])
    snapshot, event = again.read(2)
    assert snapshot.data["recovered"]
    assert (event.data["type"], event.data["run"]) == ("started", 2)
    again.close()


def test_a_quiet_stream_has_comments(server, monkeypatch):
    monkeypatch.setattr(event_stream, "QUIET", 0.001)
    one = stream(server)
    one.read(2)
    assert [next(one.pieces) for _ in range(3)] == [HEARTBEAT] * 3
    one.close()
    assert_none_is_left(server)


def test_a_client_that_leaves_before_its_answer_was_begun_is_forgotten(server):
    stream(server).close()
    assert_none_is_left(server)


@pytest.mark.parametrize(
    ("path", "claims", "status", "code"),
    [
        (PATH, None, 401, "unauthorized"),
        (PATH, {"scope": "cancel"}, 403, "forbidden"),
        (PATH, {"owner": "another"}, 404, "not_found"),
        ("/api/jobs/other/events", {}, 404, "not_found"),
        (f"{PATH}?cursor={'x' * 400}", {}, 400, "bad_request"),
    ],
)
def test_a_refusal_has_a_status_and_a_code(server, path, claims, status, code):
    headers = {} if claims is None else {"Authorization": f"Bearer {token(**claims)}"}
    answer = Client(server.wsgi).get(path, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert_none_is_left(server)


def test_a_page_of_another_origin_is_refused_and_of_a_listed_one_may_read():
    server = new_lone_server(origins=("https://shop.example",))
    publish(server, 0, "succeeded")
    assert stream(server, Origin="https://evil.example").status == "403 FORBIDDEN"
    one = stream(server, Origin="https://shop.example")
    assert one.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert one.headers["Access-Control-Allow-Credentials"] == "true"
    one.close()


def test_streams_count_as_clients_of_their_owner(server):
    streams = [stream(server) for _ in range(2)]
    assert server.jobs.clients.streams == 2
    answer = Client(server.wsgi).get(PATH, headers={"Authorization": f"Bearer {token()}"})
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "too_many_connections")
    for one in streams:
        one.close()
    assert_none_is_left(server)


def test_a_stream_ends_with_a_word_when_its_token_has_expired(server, monkeypatch):
    one = stream(server)
    one.read(2)
    later = SimpleNamespace(time=lambda: time.time() + 10_000, monotonic=time.monotonic)
    monkeypatch.setattr("socket_server.watching.namespace.time", later)
    server.jobs.expire()
    [refused] = one.read()
    assert (refused.event, refused.data["code"]) == ("refused", "unauthorized")
    one.close()
    assert_none_is_left(server)


def test_a_stream_ends_with_a_word_when_a_renewed_grant_does_not_name_the_job(server, monkeypatch):
    monkeypatch.setattr(event_stream, "QUIET", 0.001)
    one = stream(server)
    one.read(2)
    [(sid, client)] = server.jobs.clients.items()
    grant = replace(client.grant, scope=frozenset({"cancel"}))
    server.jobs.clients.refresh(sid, grant, server.journal.owner)
    publish(server, 1, "log", lines=[{"at": 1.0, "level": "INFO", "message": "x"}])
    told = one.read()
    assert [(one.event, one.data["code"]) for one in told] == [("refused", "unauthorized")]
    one.close()
    assert_none_is_left(server)


def test_a_client_that_falls_behind_gets_the_newest_progress_alone_and_too_far_is_dropped(server):
    one = stream(server)
    one.read(2)
    for tick in range(30):
        event = Event(
            job="j", task="j", name="n", owner="me", type="progress", at=1.0, run=1, seq=1,
            tick=tick, data={"bars": []},
        )  # fmt: skip
        server.manager.on_event(event, 1 + tick, live=True, late=False)
    [told] = one.read(1)
    assert told.data["tick"] == 29
    for seq in range(2, 60):
        publish(server, seq, "log", lines=[{"at": 1.0, "level": "INFO", "message": "x" * 200}])
    server.sio.look_after()
    assert one.read() == []
    one.close()
    assert_none_is_left(server)


def test_a_stream_of_a_job_that_was_evicted_ends_so_that_the_client_asks_again(server):
    one = stream(server)
    one.read(2)
    server.journal._forget("j")
    publish(server, 0, "started", job="k")
    server.manager.deliver("note", {}, "job:j")
    [push] = one.read()
    assert (push.event, push.data) == ("push", {"event": "note", "data": [{}]})
    assert flaws(push.data, "StreamPush") == []
    one.close()
    assert_none_is_left(server)


def test_head_opens_no_stream(server):
    answer = Client(server.wsgi).head(PATH, headers={"Authorization": f"Bearer {token()}"})
    assert answer.status_code == 405
    assert_none_is_left(server)
