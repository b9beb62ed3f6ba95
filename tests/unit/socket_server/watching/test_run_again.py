"""Which jobs a server runs again or cancels, for which token, and what it says of the others."""

from __future__ import annotations

import json
import time

import pytest
from werkzeug.test import Client

from bridge import tokens
from bridge.bus.sharding import job_id
from bridge.protocol.event import CALL, Event
from bridge.tokens import Grant
from socket_server.archive.migrating import new_engine
from socket_server.bus.decoding import Decoded
from socket_server.watching.repeating.bulk import AT_ONCE
from support.archive import event, prepared, write
from support.lone_server import SECRET, LoneClient, new_lone_server
from support.wire import flaws

SCOPE = "watch cancel enqueue"
#: Reasons why a job is refused, by its name.
REFUSED = {
    "redacted": "not_kept", "secret.task": "not_kept", "older": "not_kept",
    "other.task": "task_not_allowed", "of.canvas": "task_not_allowed", "odd": "not_kept",
}  # fmt: skip
CALLS = {
    "redacted": {"omitted": "redacted"},
    "secret.task": {"name": "secret.task", "args": [], "kwargs": {}},
    "older": None,
    "other.task": {"name": "other.task", "args": [], "kwargs": {}},
    "of.canvas": {
        "signature": {
            "task": "celery.chain", "subtask_type": "chain", "args": [], "options": {},
            "kwargs": {"tasks": [{"task": "app.a"}, {"task": "other.b"}]},
        },
        "args": [], "kwargs": {},
    },
    "odd": {"name": "app.work"},
}  # fmt: skip


def ended(job, name, call, owner="me", state="failed"):
    """Return the events of a job that has ended."""
    trace = {} if call is None else {"trace": {CALL: call}}
    told = {"owner": owner, "name": name}
    queued = event(job, "queued", 0, at=time.time(), total=1, title="Work", **told, **trace)
    started = event(job, "started", 0, attempt=1, **told)
    return [Event.decode(one) for one in (queued, started, event(job, state, 1, **told))]


def good(number):
    call = {"name": "app.work", "args": [number], "kwargs": {}, "options": {"queue": "q"}}
    return {**call, "webhook": "w"}


@pytest.fixture
def server(tmp_path):
    """A server whose archive has three jobs that can be run again, and some that cannot."""
    url = f"sqlite:///{tmp_path}/archive.sqlite"
    engine = prepared(url)
    for number in range(3):
        write(engine, ended(f"good-{number}", "app.work", good(number)))
    for number, (name, call) in enumerate(CALLS.items()):
        write(engine, ended(f"bad-{number}", name, call))
    write(engine, ended("theirs", "app.work", good(9), owner="other"))
    engine.dispose()
    return new_lone_server(
        tasks=("app.*", "secret.*"),
        redact=("secret.*",),
        archive_url=url,
        result_url=f"db+sqlite:///{tmp_path}/results.sqlite",
        home=tmp_path,
    )


@pytest.fixture
def published(server, monkeypatch):
    """What the server's bridge publishes: owner, name and arguments of each job."""
    from bridge.client import sending

    jobs = {}

    def send(bridge, job, call):
        told = call.name, call.args, job.again_of, job.title, call.options, job.webhook
        jobs[job.id] = job.owner, *told

    monkeypatch.setattr(sending, "send", send)
    return jobs


def client(server, **claims):
    client = LoneClient(server)
    client.connect(tokens.sign([SECRET], **{"owner": "me", "scope": SCOPE, **claims}))
    return client


def test_a_job_runs_again_once_for_each_key_as_its_owner_s(server, published):
    mine = client(server)
    answers = [mine.ask("run_again", {"job": "good-1", "key": key}) for key in "aab"]
    assert [flaws(one, "RunAgainAnswer") for one in answers] == [[], [], []]
    first, again, other = (one["job"] for one in answers)
    assert first == again != other
    assert answers[0]["again_of"] == "good-1"
    assert published[first] == ("me", "app.work", [1], "good-1", "Work", {"queue": "q"}, "w")
    assert len(published) == 2
    operator = client(server, owner="ops", scope="enqueue operate")
    new = operator.ask("run_again", {"job": "theirs", "key": "a"})["job"]
    assert published[new][0] == "other"


@pytest.mark.parametrize(
    ("claims", "request_", "code"),
    [
        ({}, {"job": "theirs", "key": "k"}, "not_found"),
        ({}, {"job": "nothing", "key": "k"}, "not_found"),
        ({}, {"job": "good-1"}, "bad_request"),
        ({"scope": "watch cancel"}, {"job": "good-1", "key": "k"}, "forbidden"),
        ({"owner": None, "jobs": ["good-1"]}, {"job": "good-1", "key": "k"}, "forbidden"),
    ],
)
def test_what_a_token_does_not_allow_is_refused(server, published, claims, request_, code):
    answer = client(server, **claims).ask("run_again", request_)
    assert (answer["ok"], answer["error"]["code"], published) == (False, code, {})


@pytest.mark.parametrize(("number", "name"), list(enumerate(REFUSED)))
def test_a_job_that_cannot_is_refused_with_a_reason(server, published, number, name):
    answer = client(server).ask("run_again", {"job": f"bad-{number}", "key": "k"})
    assert answer["error"]["code"] == REFUSED[name]
    assert published == {}


def test_a_job_that_goes_on_is_not_run_beside_itself(server, published):
    late = event("good-1", "retrying", 2, owner="me", name="app.work")
    server.journal.fold(Event.decode(late), 0)
    answer = client(server).ask("run_again", {"job": "good-1", "key": "k"})
    assert answer["error"]["code"] == "not_ended"


@pytest.mark.parametrize(
    ("age", "total", "allowed"),
    [(10, 1, True), (10, 2, False), (10**6, 1, False), (None, 1, False)],
)
def test_a_job_of_one_task_goes_on_from_a_checkpoint_that_is_still_kept(
    server, monkeypatch, age, total, allowed
):
    from bridge.client import sending

    resumed = []
    monkeypatch.setattr(sending, "send", lambda bridge, job, call: resumed.append(job.resume))
    saved = {} if age is None else {"saved": time.time() - age}
    told = {"owner": "me", "name": "app.work", "trace": {CALL: good(1)}, "total": total}
    events = [event("stopped", "queued", 0, **told), event("stopped", "started", 0, owner="me"),
              event("stopped", "progress", 0, owner="me", bars=[], **saved)]  # fmt: skip
    events[2]["tick"] = 1
    engine = new_engine(server.bridge.settings.archive_url)
    write(
        engine, [Event.decode(one) for one in (*events, event("stopped", "failed", 1, owner="me"))]
    )
    engine.dispose()
    answer = client(server).ask("run_again", {"job": "stopped", "key": "k", "resume": True})
    assert answer["ok"] is allowed
    assert resumed == [True] * allowed
    assert allowed or answer["error"]["code"] == "not_kept"


def test_a_preview_says_what_the_same_request_does_then_and_does_nothing(server, published):
    mine = client(server)
    request = {"action": "run_again", "filter": {"state": "failed"}}
    seen = mine.ask("bulk", {**request, "preview": True})
    assert flaws(seen, "BulkAnswer") == []
    assert published == {}
    done = [mine.ask("bulk", {**request, "key": "k"}) for _ in range(2)]
    assert flaws(done[0], "BulkAnswer") == []
    assert done[0] == done[1]
    assert {one["again_of"] for one in done[0]["jobs"]} == {one["job"] for one in seen["jobs"]}
    assert {one["again_of"] for one in done[0]["jobs"]} == {"good-0", "good-1", "good-2"}
    assert published.keys() == {one["job"] for one in done[0]["jobs"]}
    assert seen["refused"] == done[0]["refused"]
    codes = {one["job"]: one["code"] for one in seen["refused"]}
    assert codes == {f"bad-{n}": code for n, code in enumerate(REFUSED.values())}
    assert seen["count"] == done[0]["count"] == 9


def test_a_job_that_the_same_asking_has_made_is_not_run_again_by_it(server, published):
    mine = client(server)
    request = {"action": "run_again", "filter": {"name": "app.work"}, "key": "k"}
    first = mine.ask("bulk", request)
    [new, *_] = [one["job"] for one in first["jobs"]]
    for one in ended(new, "app.work", None):
        one.data["again_of"] = published[new][3]
        server.journal.fold(one, 0)
    assert mine.ask("bulk", request) == first
    again = mine.ask("bulk", {**request, "key": "another", "preview": True})
    assert again["count"] == 4


def test_a_filter_is_acted_on_in_parts_that_go_on(server, published):
    request = {"action": "run_again", "filter": {}, "key": "k", "limit": 2}
    answers, position = [], {}
    while not answers or "next" in answers[-1]:
        answers.append(client(server).ask("bulk", {**request, **position}))
        position = {"next": answers[-1].get("next")}
    assert [one["count"] for one in answers] == [2, 2, 2, 2, 1]
    assert len(published) == 3


def test_unfinished_jobs_are_cancelled_and_ended_ones_left_alone(server, monkeypatch):
    asked = []
    monkeypatch.setattr(server.bridge, "request_cancel", lambda job, owner: asked.append(job))
    for job, owner in (("r1", "me"), ("r2", "me"), ("r3", "other")):
        running = event(job, "started", 0, owner=owner, attempt=1)
        server.journal.fold(Event.decode(running), 0)
    request = {"action": "cancel", "filter": {}}
    mine = client(server)
    assert mine.ask("bulk", {**request, "preview": True})["count"] == 2
    done = mine.ask("bulk", request)
    assert flaws(done, "BulkAnswer") == []
    assert sorted(asked) == ["r1", "r2"] == sorted(one["job"] for one in done["jobs"])
    assert {one["state"] for one in done["jobs"]} == {"running"}


def test_jobs_of_others_are_not_cancelled_once_the_grant_has_lost_its_scope(server, monkeypatch):
    for number in range(30):
        running = event(f"r{number}", "started", 0, owner=("me", "other")[number % 2], attempt=1)
        server.journal.fold(Event.decode(running), 0)
    operator = client(server, scope=f"{SCOPE} operate")
    [sid] = dict(server.jobs.clients.items())
    asked, less = [], Grant(owner="me", scope=SCOPE)

    def cancel(job, owner):
        asked.append(owner)
        server.jobs.clients.refresh(sid, less, server.journal.owner)

    monkeypatch.setattr(server.bridge, "request_cancel", cancel)
    done = operator.ask("bulk", {"action": "cancel", "filter": {"state": "running"}})
    assert done["count"] == len(asked)
    assert set(asked[:AT_ONCE]) == {"me", "other"}
    assert asked[AT_ONCE:] == ["me"] * 5


@pytest.mark.parametrize(
    ("claims", "request_", "code"),
    [
        ({}, {"action": "delete"}, "bad_request"),
        ({}, {"action": "run_again"}, "bad_request"),
        ({}, {"action": "cancel", "filter": []}, "bad_request"),
        ({}, {"action": "cancel", "preview": 1}, "bad_request"),
        ({}, {"action": "cancel", "filter": {"owner": "other"}}, "forbidden"),
        ({"scope": "watch enqueue"}, {"action": "cancel"}, "forbidden"),
        ({"scope": "cancel"}, {"action": "cancel"}, "forbidden"),
        ({"scope": "watch cancel"}, {"action": "run_again", "key": "k"}, "forbidden"),
    ],
)
def test_a_wrong_bulk_is_refused(server, claims, request_, code):
    assert client(server, **claims).ask("bulk", request_)["error"]["code"] == code


def test_without_an_archive_nothing_is_run_again(tmp_path):
    answer = client(new_lone_server()).ask("run_again", {"job": "j", "key": "k"})
    assert answer["error"]["code"] == "not_kept"
    assert "run `taskbridge archive`" in answer["error"]["message"]


def test_the_owner_s_limits_count_each_job_once(server, published):
    limited = client(server)
    limited._sio.namespace_handlers["/jobs"]._limits._settings = server.bridge.settings.replace(
        max_unfinished=2
    )
    request = {"action": "run_again", "filter": {"name": "app.work"}, "key": "k"}
    for _ in range(2):
        done = limited.ask("bulk", request)
        assert [len(done["jobs"]), [one["code"] for one in done["refused"]]] == [
            2, ["too_many_jobs"],
        ]  # fmt: skip


def test_no_client_ever_gets_the_arguments_that_are_kept(server):
    """Neither by events, snapshots and lists, nor over HTTP."""
    mine, secret = client(server), "argument-4711"
    job = job_id("me", 1)
    call = {"name": "app.work", "args": [secret], "kwargs": {}}
    events = [one.encode() for one in ended(job, "app.work", None)]
    events[0]["data"]["trace"] = {CALL: call}
    mine.ask("jobs", {})  # and so it gets all events of its owner
    for number, one in enumerate(events):
        message = {"method": "emit", "event": "job", "data": [one], "namespace": "/jobs",
                   "room": f"job:{job}", "host_id": "w"}  # fmt: skip
        server.manager.take(Decoded(message, number))
    told = mine.told()
    assert len(told) == 3
    told += [json.dumps(mine.ask(name, {"job": job})) for name in ("watch", "jobs", "cancel")]
    http, token = Client(server.wsgi), tokens.sign([SECRET], owner="me", scope="watch")
    for path in ("", f"/{job}", f"/{job}/log", f"/{job}/events"):
        with http.get(f"/api/jobs{path}", headers={"Authorization": f"Bearer {token}"}) as answer:
            told.append(answer.get_data(as_text=True))
    assert job in told[-1]
    assert not [one for one in told if secret in one or CALL in one]
