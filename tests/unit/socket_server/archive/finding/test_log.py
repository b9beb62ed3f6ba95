"""The whole log of a job: the archive's part, then what only the journal has, each line once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import JobNotFound
from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive.finding import log as module
from socket_server.archive.finding.log import JobLog
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.wanted import ArchiveUnavailable
from socket_server.archive.schema import METADATA
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from support.archive import prepared, write
from support.searches import Away

GRANT = Grant(owner="o")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('archive')}/archive.sqlite"
    engine = prepared(url)
    archive = ArchiveSearch(url)
    yield engine, archive
    archive.close()
    engine.dispose()


def event(seq, task="j", kind="log"):
    lines = {"lines": [{"at": 1.0, "level": "INFO", "message": f"{task} {seq}"}]}
    data = lines if kind == "log" else {}
    return Event(job="j", task=task, type=kind, at=1.0, owner="o", run=1, seq=seq, data=data)


def events_of(count):
    """Return events of two tasks in turn."""
    begins = [event(0, task, "started") for task in ("j", "t")]
    return begins + [event(1 + n // 2, "jt"[n % 2]) for n in range(count)]


def log_of(database, archived, held, archive=None, **options):
    engine, found = database
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    for one in archived:  # each in a batch of its own
        write(engine, [one])
    journal = Journal(**options)
    for one in held:
        journal.fold(one)
    return JobLog(journal, archive or found, NoLock())


def text_of(log, grant=GRANT, job="j"):
    return b"".join(log.pieces(job, grant)).decode().splitlines()


@given(st.integers(0, 12), st.integers(0, 14), st.integers(0, 14))
def test_a_log_has_each_line_once_wherever_archive_and_journal_meet(
    database, count, archived, dropped
):
    events = events_of(count)
    # The journal holds the newest events; the archive may be behind it.
    log = log_of(database, events[:archived], events, max_events=max(1, len(events) - dropped))
    whole = [line["message"] for one in events for line in one.data.get("lines", ())]
    lines = text_of(log)
    assert [line for line in lines if not line.startswith("[taskbridge")] == [
        one for one in whole if one in lines
    ]
    if min(dropped, len(events) - 1) <= archived:
        assert lines == whole
    missing = len(whole) - len([one for one in whole if one in lines])
    assert missing == 0 or any("missing here" in line for line in lines)


def test_many_parts_are_read_some_at_a_time(database, monkeypatch):
    monkeypatch.setattr(module, "PARTS", 2)
    events = events_of(9)
    assert len(text_of(log_of(database, events, []))) == 9


def test_a_log_is_for_those_whom_the_token_names_wherever_it_is(database):
    events = events_of(2)
    for archived, held in ((events, []), ([], events), (events, events)):
        log = log_of(database, archived, held)
        refused = {}
        for job in ("j", "unknown"):
            with pytest.raises(JobNotFound) as caught:
                log.pieces(job, Grant(owner="other"))
            refused[job] = str(caught.value).replace(f" {job} ", " it ")
        assert refused["j"] == refused["unknown"]
        assert len(text_of(log, Grant(owner="me", scope="watch operate"))) == 2
        assert len(text_of(log, Grant(jobs=frozenset({"j"})))) == 2


def test_without_an_answer_of_the_archive_what_is_held_is_shown_and_that_is_said(database):
    events = events_of(2)
    log = log_of(database, events, events, Away())
    assert text_of(log) == [module.AWAY.decode().strip(), "j 1", "t 1"]
    for job, grant in (("j", Grant(owner="other")), ("unknown", GRANT)):
        with pytest.raises(ArchiveUnavailable):
            log.pieces(job, grant)


def test_an_archive_that_stops_to_answer_amid_a_log_is_told(database):
    log = log_of(database, events_of(2), [])
    pieces = log.pieces("j", GRANT)
    log._archive = Away()
    assert b"".join(pieces) == module.BROKEN
