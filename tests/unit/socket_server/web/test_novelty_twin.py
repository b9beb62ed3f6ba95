"""The page's client and ``bridge.watch`` take the same events of a job for new.

Both watch a job through the same session: servers that are ahead of or behind each other, that
hold only the newest events, or know no more than a result; cuts, refusals and repetitions. The
events that they give out are compared, the cursors that they send, whether they know of a gap, the
snapshot, and how they end.

Not shared: the Python client checks each event, and gives up after its ``timeout``. The page's
client waits for ever, follows many jobs over one connection, and draws what comes after the end.
"""

from __future__ import annotations

import random

import pytest

from bridge.client import watch_state
from bridge.client.watcher import Watcher
from bridge.errors import JobNotFound
from support.stories import FEW, MANY, ONE, story
from support.twin import answers, assert_alike, look
from support.watch_session import Over, Session

#: Tasks, events of a story, part of the ends that are failures, noise, number of sessions.
KINDS = (
    (ONE, 40, 0.1, 0.0, 40),
    (FEW, 60, 0.05, 0.0, 80),
    (FEW, 40, 0.05, 0.5, 50),
    (MANY, 300, 0.0, 0.0, 3),
)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Let a watcher ask again at once."""
    monkeypatch.setattr(watch_state, "pause", lambda _: 0.0)


def sessions():
    """Return the steps of sessions, and what the Python client makes of each."""
    chance = random.Random(21)
    for tasks, length, failing, noisy, count in KINDS:
        for _ in range(count):
            events = story(chance, tasks, length, failing=failing, noisy=noisy)
            session = Session(chance, events)
            told = watched(session)
            yield session.steps, told


def watched(session):
    """Return what the Python client makes of a session, in the form of its twin's answer."""
    watcher = Watcher("http://test", "token", "job")
    session.attach(watcher)
    events, end = [], "ended"
    try:
        for event in watcher:
            events.append(event)
    except JobNotFound:
        end = "not_found"
    except Over:
        end = ""
    cursor = None if end == "not_found" else watcher.cursor
    told = {"events": events, "recovered": watcher.recovered, "end": end, "cursor": cursor}
    return {**told, "asked": session.asked, "snapshot": look(watcher.snapshot)}


def test_both_clients_take_the_same_events_for_new(tmp_path):
    steps, wanted = zip(*sessions(), strict=True)
    assert {told["end"] for told in wanted} == {"", "ended", "not_found"}
    assert_alike(answers("sessions", steps, tmp_path), wanted, steps)
