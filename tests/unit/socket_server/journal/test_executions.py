"""Whatever clocks workers have: a task ends as its last execution does, on servers and clients."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.instrumentation.outcomes import REPLACED
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.journal import Journal

#: Microseconds at which a story begins, and an hour of them.
BEGIN, HOUR = 1_763_846_400_000_000, 3_600_000_000
SECOND = 1_000_000
#: How an execution ends: how its child or its parent says so, and whether another one follows.
ENDS = ["succeeded", "failed", "retrying", "killed and retried", "vanished"]
#: Ends after which an execution of the same message, or of the next attempt, begins.
GO_ON = ("retrying", "killed and retried", "vanished")


@dataclass
class Execution:
    """One execution: what it sends, in order, and how it ended."""

    events: list[Event]
    end: str
    #: Whether its worker says what Celery knows, as those after 0.1.0 do with each event.
    new: bool


def event(kind, run=BEGIN, seq=0, tick=0, at=None, task="j", job="j", **data):
    at = run / SECOND if at is None else at
    return Event(job=job, task=task, type=kind, at=at, owner="o", run=run, seq=seq, tick=tick,
                 data=data)  # fmt: skip


def executed(run, attempt, redelivered, end, talk, new):
    """Return an execution as a worker with a clock of its own reports it."""
    known = {"attempt": attempt, "redelivered": redelivered} if new else {}
    later = known if attempt > 1 or redelivered else {}
    events = [event("started", run, 0, **{"attempt": attempt, **known})]
    events += [event("log", run, number + 1, lines=[], **later) for number in range(talk)]
    events.append(event("progress", run, talk, 1, bars=[{"position": 0, "n": talk}], **later))
    if end == "killed and retried":
        # The parent says so, at a number of its own, a little later by the same clock.
        events.append(event("retrying", run + SECOND, 0, **known))
    elif end != "vanished":
        events.append(event(end, run, talk + 1, result=f"{attempt} {run}", **known))
    return Execution(events, end, new)


@st.composite
def stories(draw):
    """Return the executions of a task, from first to last; the last one has ended it."""
    told, attempt, redelivered = [], 1, draw(st.booleans())
    for number in range(draw(st.integers(1, 6))):
        last = number == 5 or draw(st.integers(0, 3)) == 0
        end = draw(st.sampled_from(ENDS[:2] if last else GO_ON))
        skew = draw(st.integers(-HOUR, HOUR) | st.sampled_from([-HOUR, 0, HOUR]))
        # Two executions never have the same number, as two clocks never show the same microsecond.
        run = (BEGIN + number * 10 * SECOND + skew) // 100 * 100 + number
        arguments = run, attempt, redelivered, end, draw(st.integers(0, 2)), draw(st.booleans())
        told.append(executed(*arguments))
        if end not in GO_ON:
            break
        redelivered, attempt = end == "vanished", attempt + (end != "vanished")
    else:
        told.append(executed(BEGIN + 7, attempt, redelivered, "succeeded", 1, True))
    return told


@st.composite
def arrivals(draw, story):
    """Return the events in an order in which a server may read them.

    An execution's own order stays. Of those before the last some events come late: after others
    have begun, or even after the end.
    """
    came, late = [], []
    for execution in story:
        events = list(execution.events)
        # What a 0.1.0 worker's parent says too late can be told from news only by its clock.
        most = len(events) - 1 if execution.new or execution.events[-1].run == events[0].run else 0
        kept = len(events) - (draw(st.integers(0, most)) if execution is not story[-1] else 0)
        for one in events[:kept]:
            while late and draw(st.integers(0, 2)) == 0:
                came.append(late[0].pop(0))
                late = [queue for queue in late if queue]
            came.append(one)
            if draw(st.integers(0, 9)) == 0:
                came.append(draw(st.sampled_from(came)))
        if kept < len(events):
            late.append(events[kept:])
    return came + [one for queue in late for one in queue]


def fold(events, journal=None):
    journal = Journal(epoch="e") if journal is None else journal
    return journal, [message for one in events if (message := journal.fold(one)) is not None]


@given(st.data(), stories())
def test_a_task_ends_as_its_last_execution_does_however_wrong_clocks_are(data, story):
    came = data.draw(arrivals(story))
    journal, told = fold(came)
    last = story[-1]
    snapshot = journal.snapshot("j")
    assert snapshot["state"] == last.end
    if last.end == "succeeded":
        assert snapshot["result"] == last.events[-1].data["result"]
    numbers = [message["run"] for message in told]
    assert numbers == sorted(numbers), "a client takes a greater number for a newer execution"
    assert all(number < 2**53 for number in numbers), "JavaScript counts no further"


@given(st.data(), stories())
def test_clients_and_other_servers_agree_with_the_server(data, story):
    came = data.draw(arrivals(story))
    journal, told = fold(came)
    _, replayed = fold(came)
    assert replayed == told, "a replay gives the same events"
    # A client that joins anywhere, and compares numbers as that of 0.1.0 does.
    seen = data.draw(st.integers(0, len(came)))
    server = Journal(epoch="e")
    fold(came[:seen], server)
    client = Snapshot("j")
    if seen:
        client = Snapshot.decode(json.loads(server.view("j").snapshot))
    for message in fold(came[seen:], server)[1]:
        assert client.apply(Event.decode(message))
    assert client.encode() == journal.snapshot("j")


@pytest.mark.parametrize("skew", [-HOUR, -8 * SECOND, 0, 8 * SECOND, HOUR])
@pytest.mark.parametrize("redelivered", [None, False, True])
def test_a_second_execution_ends_the_job_whichever_clock_is_wrong(skew, redelivered):
    """By retry, by redelivery, and by redelivery between workers of 0.1.0, which do not say so."""
    known = {"attempt": 1} if redelivered is None else {"attempt": 1, "redelivered": False}
    again = {"attempt": 2 if redelivered is False else 1}
    again |= {} if redelivered is None else {"redelivered": redelivered}
    first, second = BEGIN, BEGIN + SECOND + skew
    journal, _ = fold([
        event("started", first, **known), event("log", first, 1, lines=[]),
        event("started", second, **again), event("log", first, 2, lines=[]),
        event("succeeded", second, 1, result=2), event("failed", first, 3),
    ])  # fmt: skip
    assert (journal.snapshot("j")["state"], journal.snapshot("j")["result"]) == ("succeeded", 2)
    assert not journal.snapshot("j")["incomplete"]


def test_the_end_of_an_attempt_whose_beginning_was_missed_is_its_own():
    first, second = BEGIN + HOUR, BEGIN
    known = {"attempt": 2, "redelivered": False}
    journal, _ = fold([event("started", first, attempt=1), event("retrying", first, 1)])
    fold([event("succeeded", second, 3, result=2, **known)], journal)
    assert journal.snapshot("j")["state"] == "succeeded"
    assert journal.snapshot("j")["incomplete"]
    assert journal.snapshot("j")["tasks"][0]["attempt"] == 2


def test_the_beginning_of_a_first_delivery_that_comes_after_the_second_is_refused():
    """Its worker was cut off, so its message was delivered again."""
    journal, _ = fold([event("started", BEGIN - HOUR, attempt=1, redelivered=True)])
    late = event("started", BEGIN, attempt=1, redelivered=False)
    assert journal.fold(late) is None


def test_a_parents_report_of_an_earlier_attempt_that_comes_late_is_refused():
    journal, _ = fold([
        event("started", BEGIN, attempt=1), event("started", BEGIN - HOUR, attempt=2),
        event("lost", BEGIN + SECOND, attempt=1, redelivered=False),
    ])  # fmt: skip
    assert journal.snapshot("j")["state"] == "running"


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_a_parents_report_of_a_worker_of_0_1_0_is_about_the_execution_of_its_own_clock(skew):
    first, second = BEGIN + skew, BEGIN
    begun = [event("started", first, attempt=1), event("started", second, attempt=2)]
    journal, _ = fold([*begun, event("retrying", first + SECOND)])
    assert journal.snapshot("j")["state"] == "running", "it is about the first"
    fold([event("lost", second + SECOND)], journal)
    assert journal.snapshot("j")["state"] == "lost"


@pytest.mark.parametrize("known", [{}, {"attempt": 2, "redelivered": False}])
def test_a_task_that_waits_to_be_tried_again_is_cancelled_by_a_host_whose_clock_is_behind(known):
    journal, _ = fold([event("started", BEGIN, attempt=1), event("retrying", BEGIN, 1)])
    fold([event("cancelled", BEGIN - HOUR, **known)], journal)
    assert journal.snapshot("j")["state"] == "cancelled"


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
@pytest.mark.parametrize(
    "known", [{}, {"redelivered": False}, {"redelivered": False, "replaced": 1}]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_task_that_was_replaced_in_its_second_attempt_is_counted_from_1_again(skew, known, late):
    if late and "replaced" not in known:
        return  # what of a canvas does not say so begins long after it
    told = {key: value for key, value in known.items() if key != "replaced"}
    before = [event("started", BEGIN, attempt=2, **told)]
    replaced = [event("retrying", BEGIN, 1, reason=REPLACED)]
    after = [event("started", BEGIN + skew, attempt=1, **known)]
    end = event("succeeded", BEGIN + skew, 1, **({"attempt": 1, **known} if known else {}))
    journal, _ = fold([*before, *(after + replaced if late else replaced + after), end])
    assert journal.snapshot("j")["state"] == "succeeded"
    assert not journal.snapshot("j")["incomplete"]


def test_the_result_of_a_job_is_that_of_its_last_task_whatever_clocks_say():
    """The body of a chord begins when its header has ended, on a host that is behind."""
    journal, _ = fold([
        event("started", BEGIN + HOUR, attempt=1, total=2),
        event("succeeded", BEGIN + HOUR, 1, result="header"),
        event("started", BEGIN, task="body", attempt=1, redelivered=False),
        event("succeeded", BEGIN, 1, task="body", result="body"),
    ])  # fmt: skip
    assert journal.snapshot("j")["result"] == "body"


def test_the_cursor_of_an_event_is_the_same_on_a_server_that_missed_the_first_execution():
    begun, end = event("started", BEGIN - HOUR, attempt=2), event("log", BEGIN - HOUR, 1, lines=[])
    journal, late = Journal(epoch="e"), Journal(epoch="e")
    journal.fold(event("started", BEGIN, attempt=1), 0)
    for offset, one in enumerate([begun, end], 1):
        journal.fold(one, offset)
        late.fold(one, offset, late=True)
    assert late.view("j", journal.view("j").cursor).recovered


def test_what_is_remembered_of_a_task_is_bounded():
    journal = Journal()
    for attempt in range(1, 200):
        journal.fold(event("started", BEGIN - attempt * SECOND, attempt=attempt))
        journal.fold(event("retrying", BEGIN - attempt * SECOND, 1, attempt=attempt))
    [execution] = journal._records["j"].runs.values()
    assert len(execution.past) == 16


def test_a_finished_job_is_kept_however_far_behind_its_workers_clock_is():
    clock = [BEGIN / SECOND]
    journal = Journal(retention=60, clock=lambda: clock[0])
    journal.fold(event("succeeded", BEGIN - HOUR))
    journal.prune()
    assert "j" in journal
    clock[0] += 61
    journal.prune()
    assert "j" not in journal


def test_an_event_is_not_changed_by_the_number_that_it_gets():
    journal, second = Journal(), event("started", BEGIN - HOUR, attempt=2)
    before = replace(second)
    journal.fold(event("started", attempt=1))
    assert journal.fold(second)["run"] == BEGIN + 1
    assert second == before
