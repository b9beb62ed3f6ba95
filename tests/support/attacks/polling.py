"""Long polling: sessions without a connection, which whoever knows their id may use."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from contextlib import ExitStack

from support.attacks import Target, attack
from support.raw import Reply

PATH = "/socket.io/?EIO=4&transport=polling"


def ask(target: Target, method: str, sid: str | None, body: bytes = b"", *headers: str) -> Reply:
    """Send a request of a session, or one that begins one, and return its answer."""
    query = "" if sid is None else f"&sid={sid}"
    with target.raw() as raw:
        if body:
            headers = (*headers, f"Content-Length: {len(body)}")
        return raw.request(f"{method} {PATH}{query} HTTP/1.1", *headers, body=body)


def begun(target: Target) -> str:
    """Return the id of a new session."""
    reply = ask(target, "GET", None)
    assert reply.status == 200, reply.body
    sid: str = json.loads(reply.body[1:])["sid"]
    return sid


def is_over(target: Target, sid: str) -> bool:
    """Whether a session has ended."""
    return ask(target, "POST", sid, b"3").status == 400


@attack
def sids_that_are_guessed(target: Target) -> None:
    real = begun(target)
    guesses = (
        real[:-1] + ("A" if real[-1] != "A" else "B"),
        real.swapcase(),
        real + "%00",
        real[:10],
        "AAAAAAAAAAAAAAAAAAAA",
        "../" + real,
        "__class__",
        "x" * 7000,
        "%ff%fe",
    )
    for guess in guesses:
        for method in ("GET", "POST"):
            reply = ask(target, method, guess, b"2" if method == "POST" else b"")
            assert reply.status in (400, 413, 414, 431), guess


@attack
def sid_of_a_namespace(target: Target) -> None:
    """The one id that others get to see, of a connection that is somebody's."""
    with target.intruder() as raw:
        for sid in (raw.sid, raw.sid.lower()):
            assert ask(target, "GET", sid).status == 400
            assert ask(target, "POST", sid, b'42/jobs,["jobs",{}]').status == 400
        assert raw.ask("jobs", {})["ok"]


@attack
def posts_that_are_no_packets(target: Target) -> None:
    for body in (
        b"x",
        b"9",
        b"\x1e" * 100,
        b"\x1e".join([b"2"] * 17),
        b"b" + b"A" * 100,
        b"d=" + b"4" * 10,
        b"\xff\xfe",
        b"4" + b"[" * 20_000,
        b"42[",
        gzip.compress(b"2" * 100_000),
    ):
        sid = begun(target)
        assert ask(target, "POST", sid, body, "Content-Encoding: gzip").status in (200, 400)
        assert ask(target, "POST", sid, body, "Content-Type: application/json").status in (200, 400)


@attack
def polls_at_once(target: Target) -> None:
    """Two requests wait for the packets of one session."""
    sid = begun(target)
    with ExitStack() as stack:
        raws = [stack.enter_context(target.raw()) for _ in range(4)]
        for raw in raws:
            raw.request_head(f"GET {PATH}&sid={sid} HTTP/1.1")
        assert ask(target, "POST", sid, b"1").status in (200, 400)
        statuses = {raw.reply().status for raw in raws}
    assert statuses <= {0, 200, 400}
    assert is_over(target, sid)


@attack
def session_that_shows_no_token(target: Target) -> None:
    sid = begun(target)
    deadline = time.monotonic() + 10
    while not is_over(target, sid):
        assert time.monotonic() < deadline, "the server keeps it"
        time.sleep(0.2)


@attack
def sessions_without_a_connection(target: Target) -> None:
    """They cost no connection, and count as one all the same."""
    most, statuses = target.bridge.settings.max_connections_per_address, []
    for _ in range(2 * most):
        statuses.append(ask(target, "GET", None, b"", "Connection: close").status)
        if statuses[-1] != 200:
            break
    assert statuses[-1] == 429
    assert len(statuses) <= most + 1


@attack
def posts_to_the_session_of_a_websocket(target: Target) -> None:
    with target.raw() as raw:
        raw.upgrade()
        sid = json.loads(raw.message()[1:])["sid"]
        assert ask(target, "GET", sid).status == 400
        assert ask(target, "POST", sid, b'40/jobs,{"token":"rubbish"}').status in (200, 400)
        with target.raw() as other:
            path = f"/socket.io/?EIO=4&transport=websocket&sid={sid}"
            assert other.upgrade(path=path).status == 400


@attack
def upgrades_that_go_wrong(target: Target) -> None:
    """A WebSocket for a session, whose first packets are not those of an upgrade."""
    for first, second in (
        ("2probe", "4"),
        ("2probe", None),
        ("2probe", "2probe"),
        ("5", ""),
        ("2prob", ""),
        ('40/jobs,{"token":"x"}', ""),
        ("x", ""),
        (b"\xff", ""),
    ):
        sid = begun(target)
        with target.raw() as raw:
            reply = raw.upgrade(path=f"/socket.io/?EIO=4&transport=websocket&sid={sid}")
            assert reply.status == 101
            for text in (first, second):
                if text:
                    raw.frame(text if isinstance(text, bytes) else text.encode())
            if second is not None:
                raw.await_end()
        assert ask(target, "POST", sid, b"1").status in (200, 400)


@attack
def two_upgrades_of_one_session(target: Target) -> None:
    sid = begun(target)
    path = f"/socket.io/?EIO=4&transport=websocket&sid={sid}"
    with target.raw() as one, target.raw() as other:
        assert one.upgrade(path=path).status == 101
        one.say("2probe")
        assert one.message() == "3probe"
        assert other.upgrade(path=path).status == 400
        one.say("5")
        one.say('40/jobs,{"token":"rubbish"}')
        while (message := one.message()) and not message.startswith("44/jobs,"):
            pass
        assert message
        assert ask(target, "GET", sid).status == 400


@attack
def malformed_after_an_upgrade(target: Target) -> None:
    """It is hung up on, whichever request the session began with."""
    sid = begun(target)
    with target.raw() as raw:
        raw.upgrade(path=f"/socket.io/?EIO=4&transport=websocket&sid={sid}")
        raw.say("2probe")
        raw.say("5")
        raw.say("42/jobs,1nul")
        raw.await_end()


@attack
def upgraded_client_without_a_token(target: Target) -> None:
    sid = begun(target)
    with target.raw() as raw:
        raw.upgrade(path=f"/socket.io/?EIO=4&transport=websocket&sid={sid}")
        raw.say("2probe")
        raw.say("5")
        raw.await_end()


@attack
def scripts_in_a_jsonp_index(target: Target) -> None:
    for index in ("alert(1)", "1;alert(1)", "1]%3balert(1)//", "-1", "1e9", "%C2%B2"):
        with target.raw() as raw:
            reply = raw.request(f"GET {PATH}&j={index} HTTP/1.1")
        assert reply.status in (200, 400)
        assert b"alert" not in reply.body


@attack
def posts_of_another_origin(target: Target) -> None:
    """A form of any page may post plain text; here it may not even know that there is a session."""
    sid = begun(target)
    for origin in ("https://evil.example", "null"):
        headers = (f"Origin: {origin}", "Content-Type: text/plain")
        reply = ask(target, "POST", sid, b"1", *headers)
        assert reply.status == 400
        assert "access-control-allow-origin" not in reply.headers
    assert ask(target, "POST", sid, b"1").status == 200


@attack
def token_that_is_tried_over_and_over(target: Target) -> None:
    """By polling: so many attempts of a session, and then it is over."""
    sid = begun(target)
    body = b"\x1e".join([b'40/jobs,{"token":"%s"}' % uuid.uuid4().hex.encode()] * 8)
    assert ask(target, "POST", sid, body).status in (200, 400)
    assert is_over(target, sid)
