"""Requests of somebody who was let in: false, odd, in the wrong order, over and over."""

from __future__ import annotations

import json
import uuid

from support.attacks import Target, attack
from support.attacks.requests import _code, _make_jobs, _patiently, assert_refused
from support.raw import TEXT, Raw


def own_job(target: Target) -> tuple[Raw, str]:
    """Return a connection, and a job of its own that it watches."""
    job = str(uuid.uuid4())
    _make_jobs(target, target.own, [job])
    raw = target.intruder()
    assert _patiently(raw, "watch", {"job": job})["ok"]
    return raw, job


@attack
def cursors_that_are_forged(target: Target) -> None:
    raw, job = own_job(target)
    with raw:
        real = _patiently(raw, "watch", {"job": job})["cursor"]
        for cursor in (
            "x" * 255,
            "x" * 256,
            "9" * 255,
            "-1",
            ":::",
            "0:0.0",
            f"{real}0",
            real[::-1],
            real.upper() + "\x00",
            "\u0665:\u0665",
            "\ud800",
            7,
            [real],
            {"a": 1},
            True,
        ):
            answer = _patiently(raw, "watch", {"job": job, "cursor": cursor})
            assert _code(answer) in (None, "bad_request"), (cursor, answer)
            assert answer["ok"] is False or answer["snapshot"]["job"] == job


@attack
def limits_and_states_that_are_none(target: Target) -> None:
    with target.intruder() as raw:
        for limit in (0, -1, 201, 10**9, 2**70, 1.5, "5", True, [], {}):
            assert_refused(_patiently(raw, "jobs", {"limit": limit}), "bad_request")
        for state in (7, [], {"$ne": None}, "x" * 256, True):
            assert_refused(_patiently(raw, "jobs", {"state": state}), "bad_request")
        for state in ("", "nothing", "'; DROP TABLE jobs", "\u0000", None):
            answer = _patiently(raw, "jobs", {"state": state})
            assert _code(answer) in (None, "bad_request")


@attack
def names_of_tasks_with_odd_characters(target: Target) -> None:
    """Below a name with a wildcard, which the operator has allowed."""
    for name in (
        "support.\x00",
        "support.\r\nX: y",
        "support.\ud800",
        "support." + "x" * 247,
        "support.\u202egnp.exe",
        "support.../../x",
        "support.[red]x",
        "support.*",
    ):
        with target.intruder(owner=f"{target.own}-{uuid.uuid4()}") as raw:
            answer = raw.ask("enqueue", {"name": name})
            assert _code(answer) in (None, "bad_request", "task_not_allowed"), (name, answer)


@attack
def options_of_celery_in_a_request(target: Target) -> None:
    """Whose job it is, which id it has, and where it runs are not for a client to say."""
    with target.intruder() as raw:
        answer = raw.ask(
            "enqueue",
            {
                "name": "support.nobody",
                "task_id": target.job,
                "id": target.job,
                "job": target.job,
                "root_id": target.job,
                "owner": target.owner,
                "queue": f"celery.{uuid.uuid4()}",
                "headers": {"owner": target.owner},
                "countdown": -1,
                "link": {"task": "os.system"},
                "serializer": "pickle",
            },
        )
        assert answer["ok"], answer
        assert answer["job"] != target.job
        assert answer["snapshot"]["owner"] == target.own


@attack
def arguments_that_name_options(target: Target) -> None:
    with target.intruder() as raw:
        for kwargs in (
            {"task_id": target.job},
            {"self": 1},
            {"": 1},
            {"\ud800": 1},
            {"a b": "\x00"},
        ):
            answer = _patiently(raw, "enqueue", {"name": "support.nobody", "kwargs": kwargs})
            assert _code(answer) in (None, "bad_request", "too_many_jobs"), (kwargs, answer)
            if answer["ok"]:
                assert answer["job"] != target.job


@attack
def flood_of_cancels(target: Target) -> None:
    raw, job = own_job(target)
    with raw:
        for number in range(100, 160):
            raw.say(f'42/jobs,{number}["cancel",{{"job":"{job}"}}]')
        codes, asked = set(), 0
        while asked < 60:
            message = raw.message()
            assert message, "the server hung up"
            if message.startswith("43/jobs,"):
                asked += 1
                codes.add(_code(json.loads(message[message.index("[") :])[0]))
            if "too_many_requests" in codes:
                break
    assert codes <= {None, "ended", "too_many_requests"}


@attack
def watching_and_not_over_and_over(target: Target) -> None:
    raw, job = own_job(target)
    with raw:
        for _ in range(20):
            assert _patiently(raw, "unwatch", {"job": job})["ok"]
            assert _patiently(raw, "watch", {"job": job})["ok"]


@attack
def end_of_a_watch_that_never_began(target: Target) -> None:
    with target.intruder() as raw:
        for job in (target.job, str(uuid.uuid4()), f"owner:{target.owner}", "\ud800"):
            answer = raw.ask("unwatch", {"job": job})
            assert _code(answer) in (None, "bad_request", "not_found"), answer
        assert raw.ask("jobs", {})["ok"]


@attack
def refresh_over_and_over(target: Target) -> None:
    with target.intruder() as raw:
        for number in range(25):
            token = target.bridge.token(owner=target.own, ttl=60 + number)
            assert _patiently(raw, "refresh", {"token": token})["ok"]
        assert _patiently(raw, "jobs", {})["ok"]


@attack
def refresh_to_what_is_not_ones_own(target: Target) -> None:
    with target.intruder(scope="watch") as raw:
        for claims in (
            {"jobs": [target.job]},
            {"owner": target.owner},
            {"owner": target.own.upper()},
        ):
            refused = _patiently(raw, "refresh", {"token": target.bridge.token(**claims)})
            assert_refused(refused, "forbidden")
        for token in (None, 7, [], {"token": "x"}, "", "x" * 50_000):
            assert_refused(_patiently(raw, "refresh", {"token": token}), "unauthorized")
        assert_refused(_patiently(raw, "watch", {"job": target.job}), "not_found")


@attack
def keys_that_have_a_meaning_elsewhere(target: Target) -> None:
    with target.intruder() as raw:
        for request in (
            {"__proto__": {"job": target.job}},
            {"constructor": {"prototype": {"job": target.job}}},
            {"__class__": "Grant", "job": {"$gt": ""}},
            {"job": {"toString": target.job}},
        ):
            assert_refused(_patiently(raw, "watch", request), "bad_request")


@attack
def keys_that_come_twice(target: Target) -> None:
    raw, job = own_job(target)
    with raw:
        raw.say(f'42/jobs,900["watch",{{"job":"{job}","job":"{target.job}"}}]')
        while not (message := raw.message()).startswith("43/jobs,900"):
            assert message
        assert_refused(json.loads(message[len("43/jobs,900") :])[0], "not_found")


@attack
def numbers_of_requests_that_are_none(target: Target) -> None:
    """What an answer would repeat."""
    for number in ("9" * 90, "-1", "1e3", "0x1", " 1", "\u0665", "00000001"):
        with target.intruder() as raw:
            raw.say(f'42/jobs,{number}["jobs",{{}}]')
            message = raw.message()
            assert message == "" or message.startswith("43/jobs,"), message


@attack
def requests_without_a_number(target: Target) -> None:
    with target.intruder() as raw:
        for name in ("jobs", "watch", "enqueue", "nothing"):
            raw.say(f'42/jobs,["{name}",{{}}]')
        assert raw.ask("jobs", {})["ok"]


@attack
def requests_with_more_than_a_payload(target: Target) -> None:
    with target.intruder() as raw:
        assert raw.ask("jobs", {}, target.owner, {"owner": target.owner}, None)["ok"]
        assert_refused(raw.ask("jobs"), "bad_request")
        assert_refused(raw.ask("watch", None, {"job": target.job}), "bad_request")


@attack
def requests_after_a_farewell(target: Target) -> None:
    raw, job = own_job(target)
    with raw:
        raw.say("41/jobs,")
        for name in ("watch", "cancel", "jobs"):
            raw.say(f'42/jobs,1["{name}",{{"job":"{job}"}}]')
        raw.await_end()


@attack
def two_connects_on_one_connection(target: Target) -> None:
    """The second as somebody else: it is never both."""
    with target.intruder() as raw:
        raw.connect(target.bridge.token(owner=f"{target.own}-other"))
        raw.say('42/jobs,1["jobs",{}]')
        raw.say("41/jobs,")
        raw.await_end()


@attack
def token_that_expires_during_use(target: Target) -> None:
    raw = target.intruder(ttl=1.0)
    with raw:
        while (message := raw.message()) and message != "41/jobs,":
            pass
        raw.say('42/jobs,1["jobs",{}]')
        raw.await_end()


@attack
def namespaces_with_more_to_them(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    for namespace in (f"/jobs?token={token}", "/jobs/", "/jobs%00", "/job\u017f"):
        with target.raw().open() as raw:
            raw.say(f"40{namespace},")
            message = raw.message()
            assert message == "" or message.startswith("44"), message
    assert token not in target.log()


@attack
def events_of_other_namespaces(target: Target) -> None:
    with target.intruder() as raw:
        for packet in (
            '42["watch",{}]',
            '42/other,1["x"]',
            '42/,1["x"]',
            '43/other,1["x"]',
            "41/x,",
        ):
            raw.say(packet)
        assert raw.ask("jobs", {})["ok"]


@attack
def packets_of_the_engine(target: Target) -> None:
    """Those of an upgrade that has been, and pings of a client."""
    with target.intruder() as raw:
        for packet in ("5", "2", "2probe", "3", "3probe") * 20:
            raw.say(packet)
        while (message := raw.message()) and not message.startswith("43"):
            raw.say('42/jobs,1["jobs",{}]')


@attack
def several_packets_in_a_message(target: Target) -> None:
    """As long polling has them; in a WebSocket they are none."""
    for text in (
        '42/jobs,1["jobs",{}]\x1e42/jobs,2["jobs",{}]',
        "3\x1e3\x1e3\x1e3",
        "40/jobs,\x1e3",
    ):
        with target.intruder() as raw:
            raw.say(text)
            raw.await_end()


@attack
def text_in_a_binary_frame(target: Target) -> None:
    with target.intruder() as raw:
        raw.frame(b'42/jobs,1["jobs",{}]', 2)
        raw.await_end()


@attack
def farewell_of_the_engine_and_more(target: Target) -> None:
    with target.intruder() as raw:
        raw.say("1")
        raw.frame(b'42/jobs,1["jobs",{}]', TEXT)
        raw.await_end()
