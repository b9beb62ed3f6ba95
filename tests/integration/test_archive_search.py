"""Searches in both kinds of database find the same; over HTTP and Socket.IO, and for the right."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from hashlib import sha256
from pathlib import Path

import pytest

from bridge.cli.request import request
from bridge.errors import TaskbridgeError
from bridge.tokens import Grant
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.wanted import AWAY
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.watching.job_search import JobSearch
from support.archive import ArchiveStack, Flood, event, new_database, prepared, publishing, write
from support.process import finished
from support.searches import OWNERS, WORDS, Known, matches, pages
from support.wait import until

STATES = ["failed", "succeeded", "running"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_kind_of_database_finds_what_matches_in_pages(request, kind):
    jobs = [
        Known(f"j{n}", OWNERS[n % 3], f"app.{'ab'[n % 2]}", 100.0 + n // 4, STATES[n // 3 % 3],
              " ".join(WORDS[n % 5 : n % 5 + n % 4]), held=False, archived=True)
        for n in range(60)
    ]  # fmt: skip
    url = new_database(kind, request)
    engine = prepared(url)
    write(engine, [told for one in jobs for told in one.events])
    engine.dispose()
    archive = ArchiveSearch(url)
    request.addfinalizer(archive.close)
    search = JobSearch(Journal(), archive, NoLock(), Pace(lambda seconds: None))
    for asked in (
        {"limit": 7},
        {"limit": 200, "state": "failed", "text": "disk full"},
        {"limit": 2, "text": "größe x1"},
        {"limit": 3, "text": "timeout", "since": 103, "until": 110, "name": "app.b"},
        {"limit": 9, "text": "disk 'nowhere'"},
    ):
        for owner in (None, *OWNERS):
            grant = Grant(owner=owner or "ann", scope="watch" if owner else "watch operate")
            found = [
                job["job"] for one in pages(search, asked, grant) for job in one["answer"]["jobs"]
            ]
            wanted = [(one.at, one.job) for one in jobs if matches(one, asked, owner)]
            assert found == [job for _, job in sorted(wanted, reverse=True)], (asked, owner)


def listed(stack, query, token):
    """Return status and answer of ``GET /api/jobs``."""
    return stack.ask(f"/api/jobs?{urllib.parse.urlencode(query)}", token)


def test_what_a_server_has_forgotten_is_found_and_without_the_archive_what_it_holds(
    request_, new_stack, rabbitmq, tmp_path
):
    url = new_database("postgresql", request_)
    soon = {"TASKBRIDGE_RETENTION": "1"}
    stack = ArchiveStack(tmp_path / "stack", rabbitmq.new_vhost(), url, **soon)
    new_stack.stacks.append(stack)
    stack.start_archive()
    stack.start_server()
    own, operator = stack.token(owner="somebody"), stack.token(owner="me", scope="watch operate")
    with publishing(stack.settings) as scribe:
        Flood(scribe, jobs=3, lines=2).run()
        stack.await_position(scribe.published)
    found = {"text": "line 1 of job", "state": "succeeded"}
    stack.await_forgotten("somebody")
    status, answer = listed(stack, {**found, "limit": 2}, own)
    assert (status, [one["job"] for one in answer["jobs"]]) == (200, ["job-2", "job-1"])
    _, rest = listed(stack, {**found, "limit": 2, "next": answer["next"]}, own)
    assert ([one["job"] for one in rest["jobs"]], "next" in rest) == (["job-0"], False)
    same = request(stack.bridge, "jobs", {**found, "limit": 2}, own)
    assert same["jobs"] == answer["jobs"]
    assert len(listed(stack, found, operator)[1]["jobs"]) == 3
    assert listed(stack, {"owner": "somebody"}, stack.token(owner="other"))[0] == 403
    assert listed(stack, found, stack.token(owner="other"))[1]["jobs"] == []
    printed = finished(stack.command("logs", "job-1"), tmp_path, stack.env)
    assert (printed.returncode, printed.stdout) == (0, "line 0 of job-1\nline 1 of job-1\n")
    printed = finished(stack.command("logs", "nothing"), tmp_path, stack.env)
    assert (printed.returncode, printed.stdout) == (1, "")
    assert printed.stderr == "taskbridge: no job nothing that this token names\n"
    asked = ["--since", "yesterday", "--grep", "LINE of job", "--json"]
    printed = finished(stack.command("jobs", *asked), tmp_path, stack.env)
    assert [json.loads(one)["job"] for one in printed.stdout.splitlines()] == [
        "job-2", "job-1", "job-0",
    ]  # fmt: skip
    printed = finished(stack.command("jobs", "--failed", *asked), tmp_path, stack.env)
    assert (printed.returncode, printed.stdout) == (0, "")
    assert_found_by_its_id(stack, "job-1", own)
    with stack.away():
        for path in ("job-1", "nothing", "job-1/tasks", "nothing/tasks"):
            status, answer = stack.ask(f"/api/jobs/{path}", own)
            assert (status, answer["error"]["message"]) == (503, AWAY)
        _, answer = listed(stack, found, own)
        assert (answer["jobs"], answer["archive_away"]) == ([], True)
    until(lambda: len(listed(stack, found, own)[1]["jobs"]) == 3, 30, "the archive's answer")


def assert_found_by_its_id(stack, job, own):
    """Check that a job that only the archive has is looked up, watched and not cancelled."""
    status, snapshot = stack.ask(f"/api/jobs/{job}", own)
    assert (status, snapshot["state"], snapshot["owner"]) == (200, "succeeded", "somebody")
    watched = request(stack.bridge, "watch", {"job": job}, own)
    assert (watched["snapshot"], watched["events"], watched["cursor"]) == (snapshot, [], None)
    assert not watched["recovered"]
    assert stack.bridge.status(job) == snapshot
    [task] = request(stack.bridge, "tasks", {"job": job}, own)["tasks"]
    assert (task["task"], task["state"]) == (job, "succeeded")
    assert task["queued_at"] <= task["started_at"] <= task["ended_at"] == snapshot["ended_at"]
    with pytest.raises(TaskbridgeError, match="already succeeded"):
        request(stack.bridge, "cancel", {"job": job}, stack.token(owner="somebody", scope="cancel"))
    for path in (job, f"{job}/tasks", f"{job}/log"):
        status, answer = stack.ask(f"/api/jobs/{path}", stack.token(owner="other"))
        assert (status, answer["error"]["message"]) == (404, f"no job {job} that this token names")


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]
#: Lines in one event.
LINES = 100


@pytest.mark.parametrize("lines", [20_000, pytest.param(1_000_000, marks=LONG)])
def test_the_download_of_a_log_is_what_was_logged_byte_for_byte(
    request_, new_stack, rabbitmq, tmp_path, lines
):
    url = new_database("postgresql", request_)
    stack = ArchiveStack(tmp_path / "stack", rabbitmq.new_vhost(), url)
    new_stack.stacks.append(stack)
    stack.start_archive()
    server = stack.start_server()
    logged, got = sha256(), sha256()
    with publishing(stack.settings) as scribe:
        scribe.send(event("long", "started", 0, attempt=1))
        for seq in range(1, lines // LINES + 1):
            texts = [f"line {seq}.{n}: größer \0 {'x' * (n % 80)}" for n in range(LINES)]
            logged.update("".join(f"{text}\n" for text in texts).encode())
            told = [{"at": 1.0, "level": "INFO", "message": text} for text in texts]
            scribe.send(event("long", "log", seq, lines=told))
        # The newest lines may be with the server alone, as many as it holds.
        half, newest = scribe.published // 2, scribe.published - 300
        stack.await_position(max(half, newest), timeout=900)
    asked = urllib.request.Request(
        f"{stack.url}/api/jobs/long/log",
        headers={"Authorization": f"Bearer {stack.token(jobs=['long'])}"},
    )
    before = peak_of(server.pid)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        while piece := answer.read(65536):
            got.update(piece)
    assert got.hexdigest() == logged.hexdigest()
    assert peak_of(server.pid) - before < 32 * 1024 * 1024


def peak_of(pid):
    """Return the most memory that a process ever had, in bytes."""
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in one]
    return int(line.split()[1]) * 1024


@pytest.fixture
def request_(request):
    """The request for fixtures, under a name that no function here has."""
    return request
