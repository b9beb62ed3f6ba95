"""``View``: the fields of an answer, and the bound on the verdicts in it."""

from __future__ import annotations

import json

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.view import MAX_VERDICTS, View, verdict_texts
from socket_server.messages.answer import Encoded
from socket_server.messages.excerpt import Excerpt


def all_of(body):
    """Return all text of an answer, which can be read once."""
    return body.head + (body.excerpt.read(10**9) if body.excerpt else "") + body.end


def view_of(events, verdicts=()):
    excerpt = Excerpt(lambda after: (after + 1, events[after]), 0, len(events), 10**6)
    return View(Encoded('{"state":"running"}'), excerpt, [*verdicts], True, "e1:1.2")


def lost_tasks(count):
    """Return the snapshot of a job in which a verdict called so many tasks lost."""
    snapshot = Snapshot("j")
    for number in range(count):
        task = f"t{number}"
        snapshot.apply(Event(job="j", task=task, type="started", run=1, at=1000.0))
        reason = "x" * 100
        snapshot.apply(snapshot.verdict(snapshot.task(task), "lost", 1001.0, reason=reason))
    return snapshot


def test_the_answer_of_watch_has_four_fields():
    answer = json.loads(all_of(view_of(['{"seq":0}'], ['{"seq":1}']).encode()))
    assert answer.keys() == {"snapshot", "events", "recovered", "cursor"}
    assert answer["events"] == [{"seq": 0}, {"seq": 1}]


def test_further_fields_of_an_answer_come_beside_them():
    assert json.loads(all_of(view_of([]).encode(ok=True)))["ok"] is True


def test_the_events_of_a_view_end_with_its_verdicts():
    assert view_of(['{"seq":0}'], ['{"seq":1}']).events == [{"seq": 0}, {"seq": 1}]


def test_a_verdict_has_the_cursor_of_the_newest_event():
    [text] = verdict_texts(lost_tasks(1), "e1:7.8")
    assert (json.loads(text)["type"], json.loads(text)["cursor"]) == ("lost", "e1:7.8")


def test_verdicts_that_are_sent_again_are_bounded():
    texts = verdict_texts(lost_tasks(300), "e1:7.8")
    assert 0 < sum(map(len, texts)) <= MAX_VERDICTS
