"""A job that is folded in several batches, with restarts between them, is the same job."""

from __future__ import annotations

import json
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import Event
from socket_server.archive.archived_job import MAX_PART, ArchivedJob
from socket_server.archive.entries import lines_in

BEGINNINGS, ENDS = ["queued", "started", "retrying"], ["succeeded", "failed", "cancelling"]
KINDS = st.sampled_from([*BEGINNINGS, "log", "output", "progress", *ENDS])
STEP = {"id": 1, "parent": None, "name": "s", "state": "running", "started_at": 1.0}
DATA = {
    "progress": {"bars": [], "steps": [{**STEP, "ended_at": None}], "steps_omitted": 2},
    "queued": {"total": 2, "title": "a title"},
    "started": {"attempt": 1},
    "log": {"lines": [{"at": 1.0, "level": "INFO", "message": "a \0 line"}]},
    "output": {"chunks": ["some\n"]},
    "failed": {"error": {"class": "KeyError", "message": "'x'"}},
}


@st.composite
def stories(draw):
    """Return events of some tasks, with numbers that may repeat, and where batches end."""
    events = [
        Event(job="j\\", task=draw(st.sampled_from(["j\\", "t\0", "u"])), type=kind, at=float(at),
              owner="o", name="n", run=draw(st.integers(0, 3)), seq=draw(st.integers(0, 4)),
              data=DATA.get(kind, {}))
        for at, kind in enumerate(draw(st.lists(KINDS, max_size=25)), start=1)
    ]  # fmt: skip
    return events, draw(st.sets(st.integers(0, 25)))


class Tables:
    """The rows of a job, as a database would have them."""

    def __init__(self):
        self.job, self.tasks, self.lines, self.words = None, {}, {}, []
        self.deliveries = []

    def put(self, job):
        self.job, tasks, lines, words, _, deliveries = job.rows("taskbridge", 0.0)
        self.tasks |= {row["task"]: row for row in tasks}
        assert not self.lines.keys() & {row["part"] for row in lines}
        self.lines |= {row["part"]: row["body"] for row in lines}
        self.words += words
        self.deliveries += deliveries

    @property
    def snapshot(self):
        found = json.loads(self.job["snapshot"])
        found["tasks"].sort(key=itemgetter("task"))  # equal ones are in the order of their events
        return found

    @property
    def entries(self):
        return [entry for part in sorted(self.lines) for entry in json.loads(self.lines[part])]


def folded(events, ends):
    """Return the rows of a job that is written, and read again, after some of its events."""
    tables, job, changed = Tables(), ArchivedJob("j\\"), False
    for number, event in enumerate(events):
        changed |= job.fold(event)
        if number in ends and changed:
            tables.put(job)
            job = ArchivedJob.load(tables.job, tables.tasks.values())
    if changed:
        tables.put(job)
    return tables


@given(stories())
def test_a_restart_after_any_batch_changes_no_row(story):
    events, ends = story
    whole, parts = folded(events, set()), folded(events, ends)
    assert parts.entries == whole.entries
    assert parts.tasks == whole.tasks
    if whole.job is not None:
        kept = {"lines", "events", "state", "at", "runs", "owner", "job", "name"}
        assert {name: parts.job[name] for name in kept} == {n: whole.job[n] for n in kept}
        assert parts.snapshot == whole.snapshot
        assert whole.job["lines"] == lines_in(whole.entries)


def test_a_task_has_the_time_at_which_it_was_queued_though_that_is_told_late():
    job, tables = ArchivedJob("j"), Tables()
    started, queued = {"run": 1, "type": "started", "at": 2.0}, {"type": "queued", "at": 1.0}
    for one, changes in ((started, True), (queued, True), (queued, False)):
        assert job.fold(Event(job="j", task="j", **one)) is changes
    tables.put(job)
    assert (tables.tasks["j"]["queued_at"], tables.tasks["j"]["started_at"]) == (1.0, 2.0)
    assert (tables.job["at"], tables.job["events"]) == (1.0, 2)


def test_many_lines_are_in_rows_of_a_bounded_size():
    job, message = ArchivedJob("j"), "y" * 8000
    for seq in range(1, 41):
        lines = {"lines": [{"at": 1.0, "level": "INFO", "message": message}]}
        assert job.fold(Event(job="j", task="j", type="log", at=1.0, run=1, seq=seq, data=lines))
    tables = Tables()
    tables.put(job)
    assert len(tables.lines) == 40 * 8000 // MAX_PART + 1
    assert max(map(len, tables.lines.values())) < MAX_PART + 9000
    assert tables.job["bytes"] == sum(map(len, tables.lines.values()))


def test_a_job_is_found_by_its_words_each_written_once():
    job, tables = ArchivedJob("j"), Tables()
    error = {"error": {"class": "KeyError", "message": "'disk'"}}
    for seq, kind, data in [(0, "started", {}), (1, "log", DATA["log"]), (2, "failed", error)]:
        one = Event(job="j", task="j", type=kind, at=1.0, run=1, seq=seq, name="app.work",
                    owner="me", data=data)  # fmt: skip
        job.fold(one)
        tables.put(job)
    words = [word for row in tables.words for word in row["words"] if len(word) < 40]
    assert sorted(words) == ["a", "app", "disk", "j", "keyerror", "line", "work"]


def delivered(*events, webhook="billing"):
    """Return the deliveries of a job that is written, and read again, after each of its events."""
    tables, job = Tables(), ArchivedJob("j")
    for number, (kind, run) in enumerate(events):
        notes = {"webhook": webhook} if number == 0 and webhook else {}
        data = {"title": "a title"} if kind == "queued" else DATA.get(kind, {})
        one = Event(job="j", task="j", type=kind, at=60.0 + number, run=run, seq=number,
                    name="app.work", owner="o\ud800", data=data, notes=notes)  # fmt: skip
        job.fold(one)
        tables.put(job)
        job = ArchivedJob.load(tables.job, tables.tasks.values())
    assert len({row["id"] for row in tables.deliveries}) == len(tables.deliveries)
    return tables.deliveries


def test_an_end_is_delivered_once_and_one_that_overturns_it_by_itself():
    end = [("queued", 0), ("started", 1), ("failed", 1)]
    assert [row["type"] for row in delivered(*end)] == ["job.failed"]
    assert delivered(*end, webhook=None) == []
    later = [*end, ("progress", 1), ("failed", 1)]
    assert len(delivered(*later)) == 1
    overturned = delivered(("queued", 0), ("lost", 1), ("started", 2), ("lost", 2), ("started", 3),
                           ("succeeded", 3), ("log", 3))  # fmt: skip
    assert [row["type"] for row in overturned] == ["job.lost", "job.lost", "job.succeeded"]


def test_a_delivery_has_what_a_snapshot_says_of_the_end():
    [row] = delivered(("queued", 0), ("started", 1), ("failed", 1))
    body = json.loads(row["body"])
    assert (body["type"], body["timestamp"]) == ("job.failed", "1970-01-01T00:01:02+00:00")
    assert body["data"]["error"] == DATA["failed"]["error"]
    told = {name: body["data"][name] for name in ("job", "name", "owner", "title", "state")}
    assert told == {"job": "j", "name": "app.work", "owner": "o\ud800", "title": "a title",
                    "state": "failed"}  # fmt: skip
    times = [body["data"][name] for name in ("queued_at", "started_at", "ended_at")]
    assert times == [60.0, 61.0, 62.0]
    assert not {"tasks", "bars", "meta"} & body["data"].keys()
    assert row["body"].isascii()


def test_an_end_whose_time_no_calendar_has_is_delivered_all_the_same():
    tables, job = Tables(), ArchivedJob("j")
    job.fold(Event(job="j", task="j", type="succeeded", at=2.0**52, run=1, notes={"webhook": "w"}))
    tables.put(job)
    assert json.loads(tables.deliveries[0]["body"])["timestamp"].startswith("9999-12-31")
