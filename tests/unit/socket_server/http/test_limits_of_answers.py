"""Snapshots, progress and logs over HTTP count for the limits, and bars that are polled go on."""

from __future__ import annotations

import pytest
from werkzeug.test import Client

from bridge import tokens
from bridge.protocol.event import Event
from support.archive import event
from support.lone_server import SECRET, new_lone_server

#: Rate that lets one request pass, and none that follows while a test runs.
ONCE = 0.001
#: Limits of all requests of an address, which are others.
MANY = {"connects_per_second": 1e6}
#: Valid for longer than any run of the tests, which begins with reading this.
OWNER = tokens.sign([SECRET], owner="me", scope="watch", ttl=10**6)


class Browser:
    """Sends requests to a server from one address."""

    def __init__(self, **limits):
        self.server = new_lone_server(url_tokens=True, **MANY, **limits)
        self._http = Client(self.server.wsgi)

    def hold(self, job, lines=0, owner="me"):
        """Let the server hold a job."""
        line = {"at": 1.0, "level": "INFO", "message": "x" * 1000}
        told = {"owner": owner, "name": "app.a"}
        for one in (
            event(job, "started", 0, attempt=1, **told),
            *(event(job, "log", n + 1, lines=[line] * 20, **told) for n in range(lines)),
        ):
            self.server.journal.fold(Event.decode(one))

    def get(self, path, token=OWNER):
        """Return status and body of an answer."""
        headers = {"Authorization": f"Bearer {token}"}
        with self._http.get(path, headers=headers) as answer:
            return answer.status_code, answer.get_data()

    def statuses(self, paths, token=OWNER):
        """Return the statuses of the answers to some requests."""
        return [self.get(path, token)[0] for path in paths]


@pytest.mark.parametrize("path", ["/api/jobs/job", "/api/progress/job"])
def test_too_many_requests_for_a_job_are_refused(path):
    browser = Browser(requests_per_second=ONCE)
    browser.hold("job")
    assert browser.statuses([path] * 3) == [200, 429, 429]
    assert b"too_many_requests" in browser.get(path)[1]


def test_a_token_in_the_url_of_progress_counts_as_well():
    browser = Browser(requests_per_second=ONCE)
    browser.hold("job")
    token = tokens.sign([SECRET], jobs=["job"], scope="watch")
    assert browser.statuses([f"/api/progress/job?token={token}"] * 2, "") == [200, 429]


@pytest.mark.parametrize("path", ["/api/jobs/job", "/api/progress/job", "/api/jobs/job/log"])
@pytest.mark.parametrize("limit", ["answer_bytes_per_second", "owner_answer_bytes_per_second"])
def test_bytes_of_answers_are_counted_for_the_connection_and_the_owner(path, limit):
    browser = Browser(**{limit: 1})
    browser.hold("job", lines=10)
    status, body = browser.get(path)
    assert status == 200
    assert len(body) > 100
    status, body = browser.get(path)
    assert status == 429
    assert b"too many bytes were asked for" in body


def test_each_piece_of_a_log_is_counted_with_the_state_lock_when_it_is_sent(monkeypatch):
    browser = Browser()
    browser.hold("job", lines=10)
    counted, locked = [], []
    lock = browser.server.sio.state_lock

    def charge(self, sid, owner, size):
        counted.append((owner, size))
        locked.append(lock._mine.depth > 0)

    monkeypatch.setattr("socket_server.limits.rate_limits.RateLimits.charge", charge)
    _, body = browser.get("/api/jobs/job/log")
    assert len(counted) == 10
    assert sum(size for _, size in counted) == len(body) > 200_000
    assert {owner for owner, _ in counted} == {"me"}
    assert all(locked)


@pytest.mark.parametrize("path", ["/api/jobs", "/api/progress"])
def test_many_bars_behind_one_address_are_polled_each_at_its_own_rate(path):
    browser = Browser(requests_per_second=ONCE)
    for number in range(50):
        browser.hold(f"j{number}")
    bars = [f"{path}/j{number}" for number in range(50)]
    assert browser.statuses(bars) == [200] * 50
    assert browser.statuses(bars) == [429] * 50


def test_ids_that_a_token_does_not_name_are_no_way_to_more_requests(monkeypatch):
    from socket_server.watching import job_lookup

    monkeypatch.setattr(job_lookup, "FIRST_EVENT", 0.0)
    browser = Browser(requests_per_second=ONCE)
    token = tokens.sign([SECRET], jobs=["job"], scope="watch")
    paths = [f"/api/jobs/other-{number}" for number in range(3)]
    assert browser.statuses(paths, token) == [404, 429, 429]


def test_with_the_default_limits_celery_progress_polls_many_jobs_of_an_owner_at_once():
    browser = Browser()
    for number in range(40):
        browser.hold(f"j{number}")
    # As many as in two seconds.
    assert set(browser.statuses([f"/api/progress/j{n}" for n in range(40)] * 4)) == {200}
