"""``page_of``: pages of an owner's jobs, each job once and the newest first."""

from __future__ import annotations

import json

import pytest

from bridge.protocol.event import Event, finite_json
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.page import MAX_PAGE, page_of
from socket_server.messages.answer import Encoded


def event(kind, job, at=1000.0, run=1, **more):
    return Event(job=job, task=job, type=kind, at=at, owner="o", run=run, **more)


def queued(job, at, *events):
    """Return the snapshot of a job that was queued at a time, with its later events."""
    snapshot = Snapshot(job)
    for one in (event("queued", job, at, run=0), *events):
        assert snapshot.apply(one)
    return snapshot


def encode(snapshot):
    return Encoded(finite_json(snapshot.encode()))


def ids(page):
    return [json.loads(one)["job"] for one in page.jobs]


def pages_of(snapshots, **options):
    """Return the jobs of each page."""
    found, after = [], None
    while not found or after:
        page = page_of(snapshots, encode, after=after, **options)
        found.append(ids(page))
        after = page.next
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_all_pages_together_are_all_jobs_each_once(limit):
    bars = [{"position": 0, "n": 1, "desc": "x" * 1_500}]
    # Some at the same moment, and large enough for several pages.
    snapshots = [
        queued(job, 1000.0 + number // 3, event("progress", job, tick=1, data={"bars": bars}))
        for number, job in enumerate(f"{n:02}" for n in range(40))
    ]
    pages = pages_of(snapshots, limit=limit)
    assert [job for page in pages for job in page] == [f"{n:02}" for n in reversed(range(40))]
    assert max(map(len, pages)) <= limit
    assert max(len(encode(one)) for one in snapshots) < MAX_PAGE
    assert sum(map(len, page_of(snapshots, encode, limit=limit).jobs)) <= MAX_PAGE


def test_a_page_goes_on_where_the_last_ended_whatever_came_meanwhile():
    snapshots = [queued(f"j{number}", 1000.0 + number) for number in range(4)]
    page = page_of(snapshots, encode, limit=2)
    snapshots.append(queued("new", 2000.0))
    assert ids(page_of(snapshots, encode, limit=9, after=page.next)) == ["j1", "j0"]


def test_a_page_of_jobs_in_a_state_is_followed_by_others_in_it():
    started = {f"j{number}": [event("started", f"j{number}")] for number in (0, 2, 4)}
    jobs = [f"j{number}" for number in range(5)]
    snapshots = [queued(job, 1000.0 + int(job[1]), *started.get(job, [])) for job in jobs]
    assert pages_of(snapshots, limit=2, state="running") == [["j4", "j2"], ["j0"]]
    assert page_of(snapshots, encode, limit=9, state="running").looked == 5


@pytest.mark.parametrize("after", ["", "x", ":", "1.0", "1.0:", ":j", "nan:j", "inf:j", "1e999:j"])
def test_what_is_no_position_in_the_list_is_refused(after):
    with pytest.raises(ValueError, match=r"no place|could not convert"):
        page_of([queued("j", 1000.0)], encode, limit=9, after=after)
