"""The token of a client that watches one job is renewed while the job is unfinished, and no other.

The clock of these tests is the server's and the service's; nothing here waits.
"""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import jwt
import pytest

from bridge import tokens
from bridge.errors import ResultsUnavailable
from bridge.protocol.event import Event
from support.clock import Clock
from support.lone_server import SECRET, LoneClient, new_lone_server
from support.wire import flaws

DAY = 86_400.0
OTHER = "o" * 32


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(time.time())
    theirs = SimpleNamespace(time=clock, monotonic=time.monotonic)
    for module in ("auth", "namespace", "renewals", "sessions"):
        monkeypatch.setattr(f"socket_server.watching.{module}.time", theirs)
    latest = SimpleNamespace(uniform=lambda _, longest: longest)
    monkeypatch.setattr("socket_server.watching.renewals.random", latest)
    for function in (tokens.verify, tokens.renewed):
        monkeypatch.setitem(function.__kwdefaults__, "clock", clock)
    return clock


def new_server(**settings):
    server = new_lone_server(**{"retention": 10 * DAY, **settings})
    server.sio.start_background_task = lambda work, *arguments: work(*arguments)
    tell(server, "started", seq=0)
    return server


@pytest.fixture
def server(clock):
    return new_server()


def tell(server, kind, seq, job="a"):
    event = Event(job=job, task=job, owner="me", type=kind, at=time.time(), run=1, seq=seq)
    server.journal.fold(event)


def sign(clock, **claims):
    claims = {"jobs": ["a"], "scope": "watch cancel", **claims}
    return tokens.sign([SECRET], clock=clock, **claims)


def watching(server, token, job="a", **auth):
    """Return a client that watches a job with a token."""
    client = LoneClient(server)
    client.say(f"0/jobs,{json.dumps({'token': token, 'renew': True, **auth})}")
    assert client.told()[0].startswith("0/jobs,")
    assert client.ask("watch", {"job": job})["ok"]
    return client


def pass_time(server, clock, seconds, step=1.0):
    """Let time pass, with the housekeeping that a server does meanwhile."""
    for _ in range(round(seconds / step)):
        clock.tick(step)
        with server.sio.state_lock:
            server.jobs.expire()


def heard(client):
    """Return what the server sent without being asked: names and payloads."""
    packets = client.told()
    return [(json.loads(one[7:]) if one.startswith("2") else [one, None]) for one in packets]


def renewals(client):
    return [payload for name, payload in heard(client) if name == "token_renewed"]


END = ["1/jobs,", None]


def test_who_watches_one_job_gets_a_new_token_at_half_time_and_stays(server, clock):
    client = watching(server, sign(clock))
    pass_time(server, clock, 450)
    assert heard(client) == []
    pass_time(server, clock, 4)
    [[name, notice]] = heard(client)
    assert name == "token_renewed"
    assert flaws(notice, "TokenRenewed") == []
    assert notice["expires"] == pytest.approx(clock() + 900 + 5, abs=2)
    grant = tokens.verify([SECRET], notice["token"])
    assert (grant.jobs, grant.scope, grant.owner) == ({"a"}, {"watch", "cancel"}, None)
    pass_time(server, clock, 920, step=10)  # beyond the end of the first token
    assert [name for name, _ in heard(client)] == ["token_renewed"] * 2
    assert client.ask("watch", {"job": "a"})["ok"]


def test_a_renewed_token_is_good_for_a_new_connection_to_another_server(server, clock):
    client = watching(server, sign(clock))
    pass_time(server, clock, 460)
    [notice] = renewals(client)
    clock.tick(600)
    other = watching(new_server(), notice["token"])
    assert other.ask("watch", {"job": "a"})["ok"]


def test_it_ends_a_day_after_the_first_token_was_issued_whoever_holds_it(server, clock):
    begun, client = clock(), watching(server, sign(clock))
    token = ""
    pass_time(server, clock, DAY - 100, step=20)
    for notice in renewals(client):
        token = notice["token"]
        assert notice["expires"] <= begun + DAY + 5
    thief = watching(server, token)  # a connection anew gains nothing
    pass_time(server, clock, 110)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]
    assert heard(thief)[-1] == END


@pytest.mark.parametrize("how", ["another setting", "never"])
def test_the_setting_says_how_long(clock, how):
    server = new_server(token_renewal=0.0 if how == "never" else 1000.0)
    client = watching(server, sign(clock))
    pass_time(server, clock, 906 if how == "never" else 1006)
    names = [name for name, _ in heard(client)]
    assert names == ["token_renewed"] * (how != "never") + ["token_expiring", END[0]]


@pytest.mark.parametrize(
    "claims",
    [
        {"owner": "me"},
        {"owner": "me", "jobs": []},
        {"jobs": ["a", "b"]},
        {"scope": "watch enqueue"},
    ],
    ids=str,
)
def test_a_token_of_another_kind_ends_when_it_says(server, clock, claims):
    client = watching(server, sign(clock, **claims))
    pass_time(server, clock, 906)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]


def test_a_token_of_version_0_1_0_which_does_not_say_when_it_was_issued_ends_when_it_says(
    server, clock
):
    claims = {"jobs": ["a"], "scope": "watch cancel", "exp": clock() + 900}
    client = watching(server, jwt.encode(claims, SECRET, algorithm="HS256"))
    pass_time(server, clock, 906)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]


def test_a_client_that_gets_tokens_from_its_application_keeps_to_them(server, clock):
    client = watching(server, sign(clock), renew=False)
    pass_time(server, clock, 880)
    assert [name for name, _ in heard(client)] == ["token_expiring"]
    assert client.ask("refresh", {"token": sign(clock), "renew": False})["ok"]
    pass_time(server, clock, 880)
    assert [name for name, _ in heard(client)] == ["token_expiring"]
    assert client.ask("refresh", {"token": sign(clock), "renew": True})["ok"]
    pass_time(server, clock, 880)
    assert [name for name, _ in heard(client)] == ["token_renewed"]


def test_a_job_that_has_ended_keeps_no_token_alive(server, clock):
    client = watching(server, sign(clock))
    pass_time(server, clock, 440)
    tell(server, "succeeded", seq=1)
    client.told()
    pass_time(server, clock, 470)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]


def test_a_job_that_goes_on_after_it_was_taken_for_lost_keeps_its_client(server, clock):
    lost = Event(
        job="a",
        task="a",
        owner="me",
        type="lost",
        at=time.time(),
        run=1,
        data={"verdict": True, "reason": "silent"},
    )
    client = watching(server, sign(clock))
    server.journal.fold(lost)
    pass_time(server, clock, 500)
    assert renewals(client) == []
    tell(server, "log", seq=1)
    pass_time(server, clock, 200)
    assert len(renewals(client)) == 1


def test_who_watches_nothing_or_another_job_is_not_renewed(server, clock):
    tell(server, "started", seq=0, job="b")
    client = watching(server, sign(clock))
    client.ask("unwatch", {"job": "a"})
    assert client.ask("watch", {"job": "b"})["error"]["code"] == "not_found"
    pass_time(server, clock, 906)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]


def test_a_token_whose_key_was_removed_is_not_renewed_nor_one_that_came_of_it(clock, tmp_path):
    (tmp_path / "secret").write_text(f"{OTHER},{SECRET}")
    server = new_server(secret=(), home=tmp_path)
    client = watching(server, sign(clock))
    pass_time(server, clock, 460)
    [notice] = renewals(client)
    (tmp_path / "secret").write_text(OTHER)
    pass_time(server, clock, 906)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]
    refused = LoneClient(server).connect(notice["token"])
    assert '"code":"unauthorized"' in refused


def test_a_job_that_the_server_does_not_hold_is_asked_for_in_the_result_backend(
    server, clock, monkeypatch
):
    client = watching(server, sign(clock))
    server.journal._records.remove("a")
    states = ["STARTED", None, "STARTED"]

    def state(app, job):
        if (found := states.pop(0)) is None:
            raise ResultsUnavailable("no answer")
        return {"state": "running" if found == "STARTED" else "succeeded"}

    monkeypatch.setattr("socket_server.watching.job_lookup.from_result", state)
    pass_time(server, clock, 460)
    assert len(renewals(client)) == 1
    pass_time(server, clock, 460)  # the backend does not answer: it is asked again
    assert renewals(client) == []
    pass_time(server, clock, 250)
    assert len(renewals(client)) == 1
    states += ["SUCCESS"] * 20
    pass_time(server, clock, 906)
    assert [name for name, _ in heard(client)] == ["token_expiring", END[0]]
