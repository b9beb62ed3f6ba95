"""Finding jobs in the journal and in the archive: all, each once, and never those of others."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive import words as words_module
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
from support.clock import Clock
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


def search_of(jobs, database, archive=None, journal=None, pace=None):
    """Return a search among some jobs."""
    engine, found = database
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    write(engine, [event for one in jobs if one.archived for event in one.events])
    journal = Journal() if journal is None else journal
    for one in jobs:
        for event in one.events * one.held:
            journal.fold(event)
    pace = pace or Pace(lambda seconds: None)
    return JobSearch(journal, archive or found, NoLock(), pace)


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


#: So many events of others that the cursors after them are longer.
MANY = [
    Known(f"j{n}", "bob", "app.a", 100.0, "failed", "disk", held=True, archived=False)
    for n in range(300)
]
#: Jobs with lines of each length, and so some with an event that would cost a byte more.
OF_ALL_LENGTHS = [
    Known(f"k{n}", "ann", "app.a", 100.0, "failed", "x" * n, held=True, archived=False)
    for n in range(64)
]


@example([*MANY, *OF_ALL_LENGTHS], {"text": "nowhere"})
@example([*MANY, *OF_ALL_LENGTHS], {"text": "1203"})  # of a cursor
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


def told(job, number, lines, owner="ann"):
    """Return an event with lines of a job."""
    data = {"lines": [{"at": 100.0, "level": "INFO", "message": line} for line in lines]}
    about = {"job": job, "task": job, "name": "app.a", "owner": owner, "run": 1, "seq": number}
    return Event(**about, type="log", at=100.0, data=data)


def searched(journal, text, pace=None):
    """Return a page of what a search finds without an archive."""
    search = JobSearch(journal, None, NoLock(), pace or Pace(lambda seconds: None))
    asked = {"text": text}
    return search.page(wanted_of(asked, Grant(owner="ann")), asked)


class Slow:
    """Finds words as ``WORD`` does, in a millisecond for each text."""

    def __init__(self, clock, found):
        self._clock, self._found = clock, found

    def findall(self, value):
        self._clock.tick(0.001)
        return self._found(value)


@pytest.fixture
def slow_words(monkeypatch):
    """A clock that only words make go on."""
    clock = Clock()
    monkeypatch.setattr(words_module, "WORD", Slow(clock, words_module.WORD.findall))
    return clock


@pytest.fixture
def worked(slow_words):
    """A pace of that clock, and the seconds of work before each rest."""
    clock, worked = slow_words, []
    begun = clock()

    def sleep(seconds):
        nonlocal begun
        worked.append(clock() - begun)
        clock.tick(seconds)
        begun = clock()

    return Pace(sleep, clock), worked


@pytest.mark.parametrize("text", ["e", "ü"])
def test_other_clients_have_their_turn_every_few_milliseconds_of_a_search(worked, text):
    pace, seconds = worked
    journal = Journal()
    for number in range(50):
        # Each line might have the word, as far as its JSON tells.
        journal.fold(told("j", number, ["\u00e9e"] * 20))
    assert searched(journal, text, pace).jobs == []
    assert sum(seconds) > 0.99
    assert max(seconds) == pytest.approx(0.005, abs=0.002)


def test_a_search_in_many_tasks_gives_turns_as_well(worked):
    pace, seconds = worked
    journal = Journal()
    for number in range(200):
        about = {"job": "j", "task": f"t{number}", "name": "app.a", "owner": "ann"}
        journal.fold(Event(**about, type="queued", at=100.0))
    searched(journal, "nowhere", pace)
    assert sum(seconds) > 0.1
    assert max(seconds) < 0.01


def test_a_search_ends_with_the_last_word_that_is_found(worked):
    pace, _ = worked
    journal = Journal()
    for number in range(50):
        journal.fold(told("j", number, [f"disk {number} is full"] * 20))
    page = searched(journal, "disk full", pace)
    assert len(page.jobs) == 1
    assert page.cost < 4000


def test_what_was_decoded_is_the_cost_of_a_search_and_other_events_cost_little():
    journal, texts = Journal(), 0
    for number in range(20):
        text = journal.fold(told("j", number, ["the queue is here \u00e9e"] * 20)).text
        texts += text.index('"cursor"')
    cost = {text: searched(journal, text).cost for text in ("nowhere", "u", "ue", "e")}
    assert cost["nowhere"] == cost["u"] == cost["ue"]
    assert texts / 65 < cost["nowhere"] < texts / 20
    assert cost["e"] == pytest.approx(texts + cost["nowhere"])


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text('\n\t"/\\\u212a\u0130\u00e9aK_ '))
def test_each_word_of_a_line_finds_it(any_text, odd_text):
    line = f"{any_text} {odd_text}"
    journal = Journal()
    journal.fold(told("job", 0, [line]))
    for word in set(words_module.words_of(line)):
        if list(words_module.words_of(word)) == [word]:
            assert len(searched(journal, word).jobs) == 1, word


@pytest.mark.parametrize("archived", [False, True])
def test_a_job_that_goes_during_a_search_is_left_out_unless_the_archive_has_it(
    database, slow_words, archived
):
    jobs = [
        Known(f"j{n}", "ann", "app.a", 100.0 + n, "failed", "disk", held=True, archived=False)
        for n in range(20)
    ]
    jobs[0] = dataclasses.replace(jobs[0], archived=archived)

    def sleep(seconds):
        slow_words.tick(seconds)
        if slow_words() > begun + 0.05:  # the first job was found long before
            journal.fold(told("another", 0, []))

    begun, journal = slow_words(), Journal(max_jobs=20)
    search = search_of(jobs, database, None, journal, Pace(sleep, slow_words))
    answers = pages(search, {"text": "disk", "limit": 50}, Grant(owner="ann"))
    assert "j0" not in journal
    assert sorted(ids(answers)) == sorted(one.job for one in jobs[not archived :])
