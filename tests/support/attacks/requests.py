"""What somebody asks for who was let in, and is somebody else."""

from __future__ import annotations

import json
import time
import uuid

from support.attacks import Target, attack
from support.poison import nested
from support.raw import Raw


def assert_refused(answer: dict, *codes: str) -> None:
    assert answer["ok"] is False
    assert answer["error"]["code"] in codes, answer
    assert "Traceback" not in json.dumps(answer)


@attack
def watch_of_somebody_elses_job(target: Target) -> None:
    with target.intruder() as raw:
        assert_refused(raw.ask("watch", {"job": target.job}), "not_found")


@attack
def cancel_of_somebody_elses_job(target: Target) -> None:
    with target.intruder() as raw:
        assert_refused(raw.ask("cancel", {"job": target.job}), "not_found")


@attack
def watch_with_a_cursor_of_somebody_elses_job(target: Target) -> None:
    with target.intruder() as raw:
        for cursor, code in (("0:0.0", "not_found"), ("\ud800", "bad_request")):
            assert_refused(raw.ask("watch", {"job": target.job, "cursor": cursor}), code)


@attack
def room_as_a_job(target: Target) -> None:
    with target.intruder() as raw:
        for room in (f"owner:{target.owner}", f"job:{target.job}"):
            assert_refused(raw.ask("watch", {"job": room}), "not_found")


@attack
def room_by_name(target: Target) -> None:
    with target.intruder() as raw:
        for name in ("join", "enter_room", "room", "subscribe", "leave_room", "close_room"):
            assert_refused(raw.ask(name, f"owner:{target.owner}"), "bad_request")


@attack
def owner_in_a_request(target: Target) -> None:
    with target.intruder() as raw:
        answer = raw.ask("jobs", {"owner": target.owner, "sub": target.owner})
        assert_refused(answer, "forbidden")
        assert all(one["owner"] == target.own for one in raw.ask("jobs", {})["jobs"])


@attack
def event_of_a_job(target: Target) -> None:
    event = {"v": 1, "job": target.job, "task": target.job, "type": "succeeded", "at": 0}
    with target.intruder() as raw:
        for name in ("job", "draining", "token_expiring", "push"):
            assert_refused(raw.ask(name, event), "bad_request")


@attack
def event_named_as_a_handler(target: Target) -> None:
    """Names of methods that python-socketio would call with what the client sends."""
    with target.intruder() as raw:
        environ = {"token": target.bridge.token(owner=target.owner)}
        for name in ("connect", "disconnect", "expire", "admit", "__init__", "emit", "", "*"):
            assert_refused(raw.ask(name, {}, environ), "bad_request")
        assert raw.ask("jobs", {})["ok"]  # and is who it was


@attack
def enumeration_of_jobs(target: Target) -> None:
    """A job that exists and one that does not: the same answer after the same time."""
    times, answers = {}, {}
    for job in (target.job, str(uuid.uuid4())):
        with target.intruder() as raw:
            begun = time.monotonic()
            answers[job] = json.dumps(raw.ask("watch", {"job": job})).replace(job, "")
            times[job] = time.monotonic() - begun
    assert len(set(answers.values())) == 1
    assert max(times.values()) - min(times.values()) < 1.0, times


@attack
def enumeration_of_jobs_over_http(target: Target) -> None:
    token, answers = target.bridge.token(owner=target.own), set()
    for job in (target.job, str(uuid.uuid4())):
        with target.raw() as raw:
            line = f"GET /api/jobs/{job} HTTP/1.1"
            reply = raw.request(line, f"Authorization: Bearer {token}")
            answers.add((reply.status, reply.body.replace(job.encode(), b"")))
    assert len(answers) == 1
    assert answers.pop()[0] == 404


@attack
def refresh_with_a_token_of_somebody_else(target: Target) -> None:
    with target.intruder() as raw:
        stolen = target.bridge.token(owner=target.owner)
        assert_refused(raw.ask("refresh", {"token": stolen}), "forbidden")
        assert_refused(raw.ask("refresh", {"token": "rubbish"}), "unauthorized")
        assert_refused(raw.ask("watch", {"job": target.job}), "not_found")


@attack
def requests_beyond_the_scope(target: Target) -> None:
    with target.intruder(scope="watch") as raw:
        assert_refused(raw.ask("enqueue", {"name": "support.add"}), "forbidden")
        assert_refused(raw.ask("cancel", {"job": target.job}), "forbidden")


@attack
def tasks_that_are_not_listed(target: Target) -> None:
    with target.intruder() as raw:
        for name in ("os.system", "*", "celery.backend_cleanup", "supportx.add", "../x"):
            assert_refused(raw.ask("enqueue", {"name": name}), "task_not_allowed")


@attack
def arguments_of_another_shape(target: Target) -> None:
    with target.intruder() as raw:
        for request in ({"args": {}}, {"kwargs": []}, {"name": 7}, {"name": None}, 7, [], "x"):
            payload = {"name": "support.add", **request} if isinstance(request, dict) else request
            assert_refused(raw.ask("enqueue", payload), "bad_request")


@attack
def arguments_that_are_nested_too_deeply(target: Target) -> None:
    with target.intruder(owner=f"intruder-{uuid.uuid4()}") as raw:
        for arguments in (
            {"args": nested(101)},
            {"args": [nested(490, "mixed")]},
            {"kwargs": nested(101, "dict")},
            {"kwargs": {"x": nested(480)}},
        ):
            assert_refused(raw.ask("enqueue", {"name": "support.add", **arguments}), "bad_request")


@attack
def requests_that_are_nested_too_deeply(target: Target) -> None:
    with target.intruder() as raw:
        for name in ("watch", "unwatch", "cancel", "refresh", "enqueue", "jobs"):
            for field in ("job", "token", "name", "cursor", "limit", "state", "args"):
                answer = raw.ask(name, {field: nested(400)})
                assert answer["ok"] or answer["error"]["code"] != "internal", answer


@attack
def surrogates_and_controls(target: Target) -> None:
    with target.intruder() as raw:
        for job in ("\ud800\x00\u202e", "a" * 256, "", {}, ["x"], True):
            assert_refused(raw.ask("watch", {"job": job}), "not_found", "bad_request")


@attack
def flood_of_enqueues(target: Target) -> None:
    with target.intruder(owner=f"intruder-{uuid.uuid4()}") as raw:
        codes = [_code(raw.ask("enqueue", {"name": "support.nobody"})) for _ in range(8)]
    assert codes[0] is None
    assert codes[-1] in ("too_many_jobs", "too_many_requests"), codes


@attack
def flood_of_watches(target: Target) -> None:
    owner = f"intruder-{uuid.uuid4()}"
    jobs = [f"{owner}-{number}" for number in range(target.bridge.settings.max_watched + 1)]
    _make_jobs(target, owner, jobs)
    with target.intruder(owner=owner) as raw:
        codes = [_code(_patiently(raw, "watch", {"job": job})) for job in jobs]
    assert codes == [None] * (len(jobs) - 1) + ["too_many_jobs"]


def _make_jobs(target: Target, owner: str, jobs: list[str]) -> None:
    from bridge.reporting.run import Run
    from bridge.sending.process_emitters import emitter_for

    for job in jobs:
        run = Run(job=job, task=job, name="support.nobody", owner=owner, begun=0)
        emitter_for(target.bridge.settings).put(run, "queued", {"total": 1})


def _patiently(raw: Raw, name: str, payload: dict) -> dict:
    while _code(answer := raw.ask(name, payload)) == "too_many_requests":
        pass  # the server itself makes who asks too often wait
    return answer


def _code(answer: dict) -> str | None:
    return None if answer["ok"] else answer["error"]["code"]


@attack
def flood_of_requests(target: Target) -> None:
    owner = f"intruder-{uuid.uuid4()}"
    with target.intruder(owner=owner) as raw:
        for number in range(1, 301):
            raw.say(f'42/jobs,{number}["jobs",{{}}]')
        answers = [raw.message() for _ in range(60)]
        assert any("too_many_requests" in answer for answer in answers)
        assert all(answer.startswith("43/jobs,") for answer in answers)


@attack
def acks_that_nobody_waits_for(target: Target) -> None:
    with target.intruder() as raw:
        for number in range(50):
            raw.say(f'43/jobs,{number}["{"x" * 100}"]')
        assert raw.ask("jobs", {})["ok"]
