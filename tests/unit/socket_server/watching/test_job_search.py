"""Finding jobs in the journal and in the archive: all, each once, and never those of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.tokens import Grant
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.schema import METADATA
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.messages.requests import Refused
from socket_server.watching import job_search as module
from socket_server.watching.job_search import JobSearch
from socket_server.watching.search_request import queried, wanted_of
from support.archive import prepared, write
from support.searches import Away, Known, matches, pages, searched_jobs, searches

OPERATOR = Grant(owner="ann", scope="watch operate")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An archive that tests fill, and a search of it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('archive')}/archive.sqlite"
    engine = prepared(url)
    archive = ArchiveSearch(url)
    yield engine, archive
    archive.close()
    engine.dispose()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Let the archive be asked for few jobs at once, so that pages end between them."""
    monkeypatch.setattr(module, "AT_ONCE", 0)
    monkeypatch.setattr(module, "MAX_HELD", 1)


def search_of(jobs, database, archive=None):
    """Return a search among some jobs."""
    engine, found = database
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    write(engine, [event for one in jobs if one.archived for event in one.events])
    journal = Journal()
    for one in jobs:
        for event in one.events * one.held:
            journal.fold(event)
    return JobSearch(journal, archive or found, NoLock(), Pace(lambda seconds: None))


def ids(answers):
    return [job["job"] for one in answers for job in one["answer"]["jobs"]]


@given(searched_jobs(), searches(), st.sampled_from([None, "ann"]))
def test_all_pages_together_are_all_jobs_that_match_each_once_and_the_newest_first(
    database, jobs, request_, owner
):
    grant = Grant(owner=owner) if owner else OPERATOR
    answers = pages(search_of(jobs, database), request_, grant)
    expected = sorted(
        ((one.at, one.job) for one in jobs if matches(one, request_, owner)), reverse=True
    )
    assert ids(answers) == [job for _, job in expected]
    assert not any(one["answer"].get("archive_away") for one in answers)


@given(searched_jobs(), searches())
def test_no_search_tells_whether_there_are_jobs_of_others(database, jobs, request_):
    grant = Grant(owner="ann")
    told = pages(search_of(jobs, database), request_, grant)
    own = [one for one in jobs if one.owner == "ann"]
    assert pages(search_of(own, database), request_, grant) == told


@given(searched_jobs(), searches())
def test_without_an_answer_of_the_archive_all_held_jobs_are_found_and_that_is_said(
    database, jobs, request_
):
    answers = pages(search_of(jobs, database, Away()), request_, Grant(owner="ann"))
    held = [one for one in jobs if one.held and matches(one, request_, "ann")]
    assert sorted(ids(answers)) == sorted(one.job for one in held)
    assert all(one["answer"]["archive_away"] for one in answers)


def test_a_page_has_as_many_snapshots_as_fit(database):
    line = "z" * 8000
    jobs = [
        Known(f"j{n}", "ann", "n" * 200, 100.0, "failed", line, held=n % 2 > 0, archived=True)
        for n in range(60)
    ]
    answers = pages(search_of(jobs, database), {"limit": 200}, Grant(owner="ann"))
    assert sorted(ids(answers)) == sorted(one.job for one in jobs)
    assert max(len(str(one["answer"])) for one in answers) < 1.5 * module.MAX_PAGE
    assert len(answers) > 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"owner": "bob"}, "only the scope operate finds jobs of other owners"),
        ({"text": "?!"}, "text must have a word"),
        ({"text": "a b c d e f g h i j k l m n o p q r s t u"}, "text must have 20 words at most"),
        ({"since": "yesterday"}, "since must be a time in seconds since the epoch"),
        ({"until": True}, "until must be a time in seconds since the epoch"),
    ],
)
def test_what_cannot_be_searched_for_is_refused_in_a_sentence(fields, reason):
    with pytest.raises(Refused, match=reason):
        wanted_of(fields, Grant(owner="ann"))


def test_a_token_for_single_jobs_lists_none():
    with pytest.raises(Refused, match="names no owner"):
        wanted_of({}, Grant(jobs=frozenset({"j"})))


def test_a_query_of_a_url_is_a_request():
    query = {"text": "a", "limit": "5", "since": "1.5", "until": "nan", "other": "x"}
    assert dict(queried(query)) == {"text": "a", "limit": 5, "since": 1.5, "until": "nan"}
