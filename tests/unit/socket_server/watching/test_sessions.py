"""Session grants: they end in time, unless the application's function grants them anew."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bridge import Grant, TokenError, tokens
from bridge.protocol.event import Event
from socket_server.watching.sessions import AT_ONCE, MAX_AUTH_BYTES
from support import scripted_session
from support.clock import Clock
from support.lone_server import SECRET, LoneClient, new_lone_server

TTL = 300.0
ADA = Grant(owner="ada", scope=frozenset({"watch", "cancel"}))


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(scripted_session, "script", made := scripted_session.Script())
    made.says(ADA)
    return made


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(time.time())
    theirs = SimpleNamespace(time=clock, monotonic=time.monotonic)
    for module in ("auth", "namespace", "sessions"):
        monkeypatch.setattr(f"socket_server.watching.{module}.time", theirs)
    return clock


@pytest.fixture
def server(script, clock):
    server = new_lone_server(auth=scripted_session.HOOK, session_ttl=TTL)
    server.sio.start_background_task = lambda work, *arguments: work(*arguments)
    return server


@pytest.fixture
def client(server):
    client = LoneClient(server)
    assert client.connect(None).startswith("0/jobs,")
    return client


def pass_time(server, clock, seconds, step=5.0):
    """Let time pass, with the housekeeping that a server does meanwhile."""
    for _ in range(round(seconds / step)):
        clock.tick(step)
        with server.sio.state_lock:
            server.jobs.expire()
            server.jobs.renew()


def tell(server, job, owner="ada"):
    now = time.time()
    server.manager.on_event(
        Event(job=job, task=job, owner=owner, type="queued", at=now, data={"total": 1})
    )


def gone(client):
    return "1/jobs," in client.told()


def test_a_session_that_lasts_goes_on_and_its_client_hears_nothing_of_it(
    server, client, script, clock
):
    client.ask("jobs", {})
    for number in range(50):
        pass_time(server, clock, 60.0)
        tell(server, f"job-{number}")
        [event] = client.told()  # no notice, no gap
        assert f"job-{number}" in event
    # Before each end, and not all the time.
    assert 50 * 60 / TTL < len(script.asked) < 4 * 50 * 60 / TTL


def test_a_session_is_asked_for_with_what_came_at_first(server, script, clock):
    client = LoneClient(server)
    client.say('0/jobs,{"token":"t","more":[1]}')
    pass_time(server, clock, TTL)
    assert len(script.asked) > 1
    for environ, auth in script.asked:
        assert environ == {"REMOTE_ADDR": "1.2.3.4"}  # and not what the function put there
        assert auth == {"token": "t", "more": [1]}


@pytest.mark.parametrize("end", ["none", "refused", "other owner", "no owner", "expired"])
def test_after_a_logout_the_connection_ends_within_the_bound(server, client, script, clock, end):
    client.ask("jobs", {})
    pass_time(server, clock, 2 * TTL)
    assert not gone(client)
    answers = {
        "none": None,
        "other owner": Grant(owner="eve"),
        "no owner": Grant(jobs=frozenset({"j"})),
        "expired": Grant(owner="ada", expires=clock() - 1),
    }
    if end == "refused":
        script.fails(TokenError("log in again"))
    else:
        script.says(answers[end])
    pass_time(server, clock, 0.8 * TTL)
    assert gone(client)
    assert len(server.jobs.clients) == 0
    tell(server, "later")
    assert client.told() == []
    asked = len(script.asked)
    pass_time(server, clock, 3 * TTL)
    assert len(script.asked) == asked  # a connection that is gone is never asked for


def test_a_session_that_is_none_any_more_goes_on_as_long_as_its_token(server, script, clock):
    client = LoneClient(server)
    client.connect(tokens.sign([SECRET], owner="ada", ttl=4 * TTL))
    client.told()
    script.says(None)
    pass_time(server, clock, 3 * TTL)
    assert not gone(client)
    pass_time(server, clock, TTL + 10)
    assert gone(client)


def test_a_function_that_fails_leaves_a_grant_until_its_end_and_is_logged_once(
    server, client, script, clock, caplog
):
    others = [LoneClient(server) for _ in range(5)]
    for one in others:
        one.connect(None)
    script.fails(RuntimeError("the database is away"))
    pass_time(server, clock, 0.9 * TTL)
    assert len(server.jobs.clients) == 6
    pass_time(server, clock, 0.1 * TTL + 5)
    assert len(server.jobs.clients) == 0
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == [
        f"taskbridge: TASKBRIDGE_AUTH={scripted_session.HOOK} failed"
    ]


def test_a_function_that_failed_for_a_while_has_cost_nobody_the_connection(
    server, client, script, clock, caplog
):
    for _ in range(2):
        script.fails(ZeroDivisionError())
        asked = len(script.asked)
        while len(script.asked) < asked + 2:
            pass_time(server, clock, 5.0)
        script.says(ADA)
        pass_time(server, clock, TTL)
    assert not gone(client)
    assert sum(one.levelname == "ERROR" for one in caplog.records) == 2  # each outage


def test_what_a_narrowed_grant_does_not_name_is_not_watched_any_more(server, client, script, clock):
    script.says(Grant(owner="ada", jobs=frozenset({"shared"}), scope=frozenset({"watch"})))
    pass_time(server, clock, TTL)
    tell(server, "shared", owner="eve")
    tell(server, "own")
    assert client.ask("watch", {"job": "shared"})["ok"]
    assert client.ask("watch", {"job": "own"})["ok"]
    client.ask("jobs", {})
    script.says(Grant(owner="ada", scope=frozenset({"watch"})))
    pass_time(server, clock, TTL)
    assert not gone(client)
    tell_progress(server, "shared", "eve")
    assert client.told() == []
    tell_progress(server, "own", "ada")
    assert len(client.told()) == 1
    script.says(Grant(owner="ada", scope=frozenset({"cancel"})))
    pass_time(server, clock, TTL)
    assert not gone(client)
    tell(server, "own2")
    assert client.told() == []
    assert client.ask("jobs", {})["error"]["code"] == "forbidden"


def tell_progress(server, job, owner):
    server.manager.on_event(
        Event(job=job, task=job, owner=owner, type="started", run=1, seq=1, at=time.time())
    )


def test_a_client_that_waits_for_a_job_does_not_get_it_by_a_grant_that_has_ended(
    server, client, script, clock
):
    def sleep(seconds=0):
        """The job appears, and the grant ends, while the request waits."""
        tell(server, "j")
        server.sio.sleep = lambda seconds=0: None
        server.jobs.clients.refresh(
            client_sid, Grant(owner="ada", scope=frozenset({"cancel"})), lambda _: "ada"
        )

    client_sid = next(iter(server.jobs.clients.items()))[0]
    server.jobs._lookup._sleep = sleep
    assert client.ask("watch", {"job": "j"})["error"]["code"] == "forbidden"
    tell_progress(server, "j", "ada")
    assert client.told() == []


def test_an_end_of_the_functions_own_comes_first_and_the_client_is_told_before(
    server, client, script, clock
):
    client.ask("refresh", {})
    ends = clock() + 100.0
    script.says(Grant(owner="ada", expires=ends))
    assert client.ask("refresh", {})["expires"] == ends
    pass_time(server, clock, 65.0)
    assert client.told() == []
    pass_time(server, clock, 10.0)
    assert "token_expiring" in client.told()[0]
    asked = len(script.asked)
    pass_time(server, clock, 30.0)
    assert gone(client)
    assert asked < 10  # not more and more often as the end comes near


def test_an_end_that_the_function_moves_is_no_end(server, client, script, clock):
    script.answer = lambda *_: Grant(owner="ada", expires=clock() + 60.0)
    pass_time(server, clock, 3 * TTL, step=1.0)
    assert not gone(client)


def test_a_client_may_ask_for_it_itself(server, client, script, clock):
    answer = client.ask("refresh", {})
    assert answer["ok"]
    assert answer["expires"] == pytest.approx(clock() + TTL)
    assert script.asked[-1][1] == {}
    script.fails(TokenError("log in again"))
    assert client.ask("refresh", {})["error"]["code"] == "unauthorized"


def test_clients_that_come_together_are_not_asked_for_together(server, script, clock):
    clients = [LoneClient(server) for _ in range(40)]
    for one in clients:
        one.connect(None)
    script.asked.clear()
    most, before = 0, 0
    while len(script.asked) < 40:
        pass_time(server, clock, 5.0)
        most, before = max(most, len(script.asked) - before), len(script.asked)
    assert most < 15
    assert len(server.jobs.clients) == 40


def test_a_client_that_hangs_up_while_its_session_is_looked_for_is_not_kept(server, script):
    client = LoneClient(server)

    def hang_up(*_):
        server.sio.eio._trigger_event("disconnect", client.sid, "gone", run_async=False)
        return ADA

    script.answer = hang_up
    client.say("0/jobs,")
    assert len(server.jobs.clients) == 0
    assert not server.jobs._limits._connected


def test_a_client_that_goes_or_refreshes_while_it_is_asked_for_stays_as_it_is(
    server, client, script, clock
):
    def refresh(*_):
        script.says(Grant(owner="ada", scope=frozenset({"cancel"})))
        assert client.ask("refresh", {})["ok"]
        raise TokenError("too late")

    script.answer = refresh
    pass_time(server, clock, 0.8 * TTL)
    assert not gone(client)
    assert client.ask("jobs", {})["error"]["code"] == "forbidden"

    def hang_up(*_):
        server.sio.eio._trigger_event("disconnect", client.sid, "gone", run_async=False)
        return ADA

    script.answer = hang_up
    pass_time(server, clock, TTL)
    assert len(server.jobs.clients) == 0


def test_so_many_slow_answers_are_waited_for_at_once_and_no_more(server, script, clock):
    for _ in range(3 * AT_ONCE):
        LoneClient(server).connect(None)
    waiting = []
    server.sio.start_background_task = lambda work, *arguments: waiting.append(work)
    pass_time(server, clock, 0.9 * TTL)
    assert len(waiting) == AT_ONCE


def test_what_a_client_sends_to_connect_is_kept_only_if_it_is_small(server, script):
    big = LoneClient(server).connect("x" * MAX_AUTH_BYTES)
    assert '"code":"unauthorized"' in big
    assert LoneClient(server).connect("x" * (MAX_AUTH_BYTES // 2)).startswith("0/jobs,")
    assert len(server.jobs.clients) == 1
