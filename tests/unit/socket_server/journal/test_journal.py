"""The journal: what a client missed, whether that is all, and how much of it is kept."""

from __future__ import annotations

import json
import random

import pytest

from bridge.protocol.event import Event, finite_json
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.journal import Journal
from support.clock import Clock
from support.stories import MANY, story


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(clock):
    return Journal(
        retention=60, epoch="e1", max_jobs=5, max_unfinished=5, max_events=4, clock=clock
    )


def event(kind, job="j", seq=0, tick=0, at=1000.0, owner="o", run=1, task=None, **data):
    place = {"run": run, "seq": seq, "tick": tick}
    return Event(job=job, task=task or job, type=kind, at=at, owner=owner, data=data, **place)


def fill(journal, count, job="j", **options):
    return [journal.fold(event("log", job=job, seq=seq, **options)) for seq in range(count)]


def listed(journal, owner, limit=9):
    snapshots = journal.of_owner(owner)
    places = sorted(((one.queued_at or one.at, one.job) for one in snapshots), reverse=True)
    return [job for _, job in places[:limit]]


def seqs(view):
    return [message["seq"] for message in view.events]


def test_an_event_is_given_on_with_a_cursor_and_a_duplicate_is_not(journal):
    first = journal.fold(event("started"))
    second = journal.fold(event("log", seq=1))
    assert first["type"] == "started"
    assert first["cursor"].startswith("e1:1.")
    assert second["cursor"].startswith("e1:2.")
    assert journal.fold(event("log", seq=1)) is None
    assert journal.fold(event("started", run=0)) is None


def test_who_comes_first_gets_the_snapshot_and_all_events(journal):
    fill(journal, 3)
    view = journal.view("j")
    assert json.loads(view.snapshot)["state"] == "running"
    assert (seqs(view), view.recovered) == ([0, 1, 2], True)
    assert view.cursor.startswith("e1:3.")


def test_who_comes_back_gets_what_came_after_its_cursor(journal):
    cursor = fill(journal, 2)[-1]["cursor"]
    journal.fold(event("log", seq=2))
    view = journal.view("j", cursor)
    assert (seqs(view), view.recovered) == ([2], True)
    assert journal.view("j", view.cursor).events == []


def test_cursors_of_two_jobs_do_not_disturb_each_other(journal):
    cursor = journal.view("j").cursor if fill(journal, 1) else None
    fill(journal, 4, job="other")
    assert journal.view("j", cursor).recovered
    assert seqs(journal.view("j", cursor)) == []


def test_progress_is_in_the_snapshot_and_not_among_the_events(journal):
    journal.fold(event("started"))
    journal.fold(event("progress", tick=1, bars=[{"position": 0, "n": 5}]))
    view = journal.view("j")
    assert [message["type"] for message in view.events] == ["started"]
    assert journal.snapshot("j")["bars"] == [{"position": 0, "n": 5}]
    assert view.cursor.startswith("e1:1."), "progress needs no recovery"


def test_who_missed_more_than_is_held_is_told_so(journal):
    cursors = [message["cursor"] for message in fill(journal, 6)]
    assert journal.view("j").recovered is False
    assert journal.view("j", cursors[0]).recovered is False
    assert journal.view("j", cursors[1]).recovered is True
    assert seqs(journal.view("j", cursors[1])) == [2, 3, 4, 5]


def test_a_job_whose_beginning_was_not_seen_is_not_recovered_for_who_comes_first(journal):
    journal.fold(event("log", seq=3))
    view = journal.view("j")
    assert (view.recovered, seqs(view)) == (False, [3])
    assert journal.view("j", view.cursor).recovered


@pytest.mark.parametrize(
    ("first", "whole"),
    [
        (event("queued", task="j"), True),
        (event("queued", task="first of a chord", total=3), True),
        (event("queued", task="spawned", more=1), False),
        (event("started", task="j", seq=0), True),
        (event("started", task="j", seq=0, attempt=2), False),
        (event("started", task="second of a chain", seq=0), False),
        (event("log", task="j", seq=0), False),
    ],
)
def test_what_is_read_of_a_stream_that_forgot_its_beginning_is_whole_from_a_jobs_first_event_on(
    journal, first, whole
):
    journal.fold(first, 7, late=True)
    journal.fold(event("succeeded", task="j", run=9, seq=0), 8, late=True)
    assert journal.view("j").recovered is whole
    cursor = journal.view("j").cursor
    journal.fold(event("log", task="other", run=9, seq=0), 9)
    assert journal.view("j", cursor).recovered
    journal.fold(event("started", job="new", task="second", seq=0), 10)
    assert journal.view("new").recovered


def test_offsets_of_a_stream_make_a_cursor_good_on_every_server(journal, clock):
    other = Journal(retention=60, epoch="e1", max_events=4, clock=clock)
    for seq in range(3):
        cursor = journal.fold(event("log", seq=seq), offset=10 * seq)["cursor"]
        if seq < 2:
            seen = cursor
        other.fold(event("log", seq=seq), offset=10 * seq)
    assert (other.view("j", seen).recovered, seqs(other.view("j", seen))) == (True, [2])
    assert (other.view("j", cursor).recovered, seqs(other.view("j", cursor))) == (True, [])


def test_a_cursor_to_another_event_at_the_same_offset_is_not_recovered(journal, clock):
    old = Journal(retention=60, epoch="e1", clock=clock)
    cursor = old.fold(event("log", run=1), offset=5)["cursor"]
    journal.fold(event("log", run=2), offset=5)
    assert journal.view("j", cursor).recovered is False


def test_a_server_that_is_behind_its_client_says_so(journal, clock):
    ahead = Journal(retention=60, epoch="e1", clock=clock)
    cursors = [ahead.fold(event("log", seq=seq), offset=seq)["cursor"] for seq in range(2)]
    journal.fold(event("log"), offset=0)
    assert [journal.is_behind(cursor) for cursor in cursors] == [False, True]
    assert not journal.is_behind("nonsense")
    # Once it has read further, an event of that cursor comes no more, whatever job it was of.
    journal.fold(event("log", job="k", task="k"), offset=2)
    assert not journal.is_behind(cursors[1])


def test_a_server_that_has_read_a_repeated_event_is_not_behind_it(journal, clock):
    ahead = Journal(retention=60, epoch="e1", clock=clock)
    ahead.fold(event("log"), offset=0)
    cursor = ahead.fold(event("log", seq=1), offset=1)["cursor"]
    for offset in range(2):
        journal.fold(event("log"), offset=offset)
    assert not journal.is_behind(cursor)


def test_after_a_gap_no_earlier_cursor_is_good_and_later_ones_are(journal):
    before = fill(journal, 2)[-1]["cursor"]
    journal.restart()
    assert journal.view("j", before).recovered is False
    assert journal.view("j").recovered is False
    assert journal.size == 0
    after = journal.fold(event("log", seq=2))["cursor"]
    journal.fold(event("log", seq=3))
    assert (journal.view("j", after).recovered, seqs(journal.view("j", after))) == (True, [3])


def test_after_a_gap_what_was_known_of_a_job_is_still_known(journal):
    fill(journal, 2)
    journal.restart()
    message = journal.fold(event("progress", seq=1, tick=1, owner=None, bars=[]))
    assert journal.owner("j") == "o"
    assert journal.snapshot("j")["state"] == "running"
    assert journal.view("j", message["cursor"]).recovered is True


def test_events_are_bounded_in_bytes_of_a_job_and_of_all(clock):
    one = len(finite_json(Journal(epoch="e" * 12, clock=clock).fold(event("log", job="a"))))
    journal = Journal(max_job_bytes=4 * one, max_bytes=8 * one, clock=clock)
    for job in "abc":
        for seq in range(5):
            journal.fold(event("log", job=job, seq=seq))
    assert seqs(journal.view("c")) == [2, 3, 4]  # a longer offset makes them a little larger
    assert seqs(journal.view("a")) == []
    assert one * 6 <= journal.size <= 8 * one


def test_where_bytes_are_short_an_ended_job_goes_before_events_of_one_that_has_not(clock):
    journal = Journal(epoch="e1", max_bytes=1000, clock=clock)
    journal.fold(event("started", job="silent", at=1.0))
    journal.fold(event("succeeded", job="ended", text="x" * 200))
    journal.fold(event("log", job="loud", text="x" * 500))
    assert "ended" not in journal
    assert len(journal.view("silent").events) == 1
    assert journal.evicted.ended == 1


def test_a_job_that_lost_its_events_for_want_of_bytes_is_held_and_its_cursors_go_on(clock):
    journal = Journal(epoch="e1", max_bytes=1000, clock=clock)
    cursor = journal.fold(event("started", job="silent"))["cursor"]
    journal.fold(event("log", job="loud", text="x" * 700))
    assert (journal.view("silent").recovered, journal.snapshot("silent")["state"]) == (
        False,
        "running",
    )
    assert journal.view("silent", cursor).recovered
    journal.fold(event("log", job="silent", seq=1))
    assert seqs(journal.view("silent", cursor)) == [1]
    assert (journal.evicted.unfinished, journal.whole) == (0, True)


@pytest.mark.parametrize(
    "cursor",
    [
        "e2:1",
        "e1:1.0",
        "e1:1.x",
        "e1:.",
        "e1:0.1",
        "e1:99",
        "e1:",
        "e1:-1",
        "e1:x",
        "e1:²",
        "",
        ":",
        "1",
        "e1:1:1",
        "e1:٣",
    ],
)
def test_a_cursor_of_another_epoch_or_of_no_sense_is_not_recovered(journal, cursor):
    fill(journal, 2)
    view = journal.view("j", cursor)
    assert (view.recovered, seqs(view)) == (False, [0, 1])


def test_each_journal_has_an_epoch_of_its_own():
    assert Journal().epoch != Journal().epoch


def test_a_job_that_is_not_held_is_a_key_error(journal):
    assert "j" not in journal
    assert journal.owner("j") is None
    for ask in (journal.view, journal.snapshot):
        with pytest.raises(KeyError):
            ask("j")


def test_jobs_are_bounded_and_finished_ones_go_first_whatever_their_age(journal):
    for number in range(4):
        journal.fold(event("queued", job=f"j{number}"))
    for number in range(100):
        journal.fold(event("succeeded", job=f"ended {number}"))
    assert list(journal._records) == [*(f"j{n}" for n in range(4)), "ended 99"]
    journal.fold(event("queued", job="new"))
    assert (len(journal), "ended 99" in journal) == (5, False)
    assert (journal.evicted.ended, journal.evicted.unfinished, journal.whole) == (100, 0, True)


def test_jobs_that_have_not_ended_are_held_beyond_the_bound_of_all_up_to_one_of_their_own(clock):
    journal = Journal(max_jobs=2, max_unfinished=4, clock=clock)
    for number in range(4):
        journal.fold(event("queued", job=f"j{number}"))
    assert (len(journal), journal.unended, journal.whole) == (4, 4, True)
    journal.fold(event("succeeded", job="j0", seq=1))
    journal.fold(event("queued", job="j4"))
    assert "j0" not in journal
    journal.fold(event("queued", job="j5"))
    assert "j1" not in journal
    assert (journal.evicted.unfinished, journal.whole) == (1, False)


def test_a_job_that_was_evicted_unfinished_claims_no_beginning_when_it_goes_on(clock):
    journal = Journal(max_unfinished=1, clock=clock)
    for job in "ab":
        journal.fold(event("started", job=job))
    journal.fold(event("log", job="a", seq=1))
    assert not journal.view("a").recovered
    journal.fold(event("started", job="c"))
    assert journal.view("c").recovered


def test_a_job_that_ends_where_none_has_room_stays_until_another_ends(clock):
    journal = Journal(max_jobs=1, max_bytes=10, clock=clock)
    for job in "abc":
        journal.fold(event("started", job=job))
    assert journal.fold(event("succeeded", job="b", seq=1)).ends
    assert (list(journal._records), journal.size) == (["a", "c", "b"], 0)
    journal.fold(event("succeeded", job="c", seq=1))
    assert list(journal._records) == ["a", "c"]


def test_a_job_that_was_called_lost_and_goes_on_is_evicted_as_one_that_runs(clock):
    journal = Journal(max_jobs=1, clock=clock)
    journal.fold(event("started", job="a"))
    journal.fold(journal.of("a").verdict(journal.of("a").task("a"), "lost", 1001.0))
    assert journal.unended == 0
    journal.fold(event("log", job="a", seq=1))
    assert journal.unended == 1
    journal.fold(event("succeeded", job="b"))
    journal.fold(event("succeeded", job="c"))
    assert list(journal._records) == ["a", "c"]


def test_a_job_that_is_heard_of_stays_when_others_are_silent(journal):
    for number in range(5):
        journal.fold(event("started", job=f"j{number}"))
    journal.fold(event("log", job="j0", seq=1))
    journal.fold(event("started", job="new"))
    assert "j0" in journal
    assert "j1" not in journal


def test_a_finished_job_is_forgotten_after_the_retention(journal, clock):
    journal.fold(event("succeeded", job="done", at=1000.0))
    journal.fold(event("started", job="running", at=1000.0))
    clock.now = 1059.0
    journal.prune()
    assert "done" in journal
    clock.now = 1061.0
    journal.prune()
    assert "done" not in journal
    assert "running" in journal
    assert listed(journal, "o") == ["running"]


def test_a_running_job_in_front_does_not_keep_finished_ones_behind_it(journal, clock):
    journal.fold(event("started", job="running", at=900.0))
    journal.fold(event("succeeded", job="done", at=1000.0))
    clock.now = 1100.0
    journal.prune()
    assert "done" not in journal


def test_a_worker_whose_clock_is_ahead_does_not_keep_all_others_jobs(journal, clock):
    journal.fold(event("started", job="ahead", at=10_000.0))
    journal.fold(event("succeeded", job="done", at=1000.0))
    clock.now = 1100.0
    journal.prune()
    assert "done" not in journal


def test_a_worker_whose_clock_is_behind_does_not_make_a_replayed_job_old(journal, clock):
    clock.now = 1020.0
    journal.fold(event("queued", at=1000.0, run=0), past=True)
    for kind, seq in (("started", 1), ("succeeded", 2)):
        journal.fold(event(kind, seq=seq, at=1010.0 - 3600), past=True)
    journal.prune()
    assert "j" in journal
    clock.now = 1061.0
    journal.prune()
    assert "j" not in journal


def test_jobs_are_listed_by_owner_newest_first(journal):
    for number, owner in enumerate("aba"):
        journal.fold(event("queued", job=f"j{number}", owner=owner, at=1000.0 + number, run=0))
    journal.fold(event("started", job="j0", owner="a", at=2000.0))
    assert listed(journal, "a") == ["j2", "j0"]
    assert listed(journal, "b") == ["j1"]
    assert listed(journal, "a", limit=1) == ["j2"]
    assert listed(journal, "nobody") == []


def test_an_owner_who_becomes_known_later_finds_the_job(journal):
    journal.fold(event("log", owner=None))
    journal.fold(event("log", seq=1, owner="o"))
    assert journal.owner("j") == "o"
    assert listed(journal, "o") == ["j"]


def test_who_is_to_be_told_hears_of_each_job_that_is_forgotten(journal, clock):
    gone = []
    journal.on_forget = gone.append
    for number in range(6):
        journal.fold(event("started", job=f"j{number}"))
    assert gone == ["j0"]
    journal.fold(event("succeeded", job="j5", seq=1))
    clock.now = 5000.0
    journal.prune()
    assert gone == ["j0", "j5"]


def test_the_json_of_a_snapshot_is_the_same_object_until_the_job_changes(journal):
    fill(journal, 2)
    encoded = journal.view("j").snapshot
    assert journal.view("j").snapshot is encoded
    assert journal.text("j") is encoded
    journal.fold(event("progress", seq=1, tick=1))
    assert json.loads(journal.view("j").snapshot) == journal.snapshot("j") != json.loads(encoded)


def test_no_json_is_left_of_a_job_that_is_forgotten(journal, clock):
    journal.fold(event("succeeded", job="done"))
    journal.view("done")
    clock.now += 1000
    journal.prune()
    assert (len(journal._texts), journal._texts.size) == (0, 0)


def test_a_client_that_comes_midway_knows_the_state_of_a_job_whose_tasks_are_not_all_listed():
    chance, differing = random.Random(5), set()
    for failing in (0.0, 0.002, 0.1) * 3:
        journal = Journal()
        events = story(chance, MANY, 700, failing=failing, noisy=0.02)
        begin, client = 250, None
        for number, one in enumerate(events):
            if number == begin:
                client = Snapshot.decode(journal.snapshot("job"))
            if not (change := journal.fold(one)) or client is None:
                continue
            client.apply(Event.decode({**change, "data": dict(change["data"])}), change["totals"])
            server = journal.of("job")
            for name in ("state", "done", "total", "incomplete", "ended"):
                if getattr(server, name) != getattr(client, name):
                    differing.add((name, change["type"]))
    assert not differing
