"""Events of version 0.1.0, as its workers and its server sent them, mean what they meant to it.

``support/recorded`` has the events of jobs of many kinds, and the snapshot of each job as the
server of 0.1.0 answered it after the job's end.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import support
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.journal import Journal

RECORDED = json.loads(
    Path(support.__file__).with_name("recorded").joinpath("0.1.0.json").read_text()
)


def meaning(snapshot):
    """Return what can be compared of a snapshot: not the numbers of executions, which are opaque,
    and not when it was queued, which is not told to clients of a job that began before.
    """
    tasks = [
        {name: one for name, one in task.items() if name not in ("run", "seq", "tick")}
        for task in snapshot["tasks"]
    ]
    compared = {name: one for name, one in snapshot.items() if name != "queued_at"}
    return {**compared, "tasks": sorted(tasks, key=lambda task: task["task"])}


def assert_includes(found, expected):
    """Raise unless ``found`` has all that ``expected`` has; later versions say more."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_includes(found[name], value)
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        for one, other in itertools.zip_longest(found, expected):
            assert_includes(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("kind", RECORDED)
def test_a_server_tells_of_them_what_the_server_of_0_1_0_told(kind):
    journal, recorded = Journal(), RECORDED[kind]
    for offset, event in enumerate(recorded["events"]):
        journal.fold(Event.decode(event), offset)
    job = recorded["snapshot"]["job"]
    assert_includes(meaning(journal.snapshot(job)), meaning(recorded["snapshot"]))


@pytest.mark.parametrize("kind", RECORDED)
def test_a_client_goes_on_from_a_snapshot_of_0_1_0(kind):
    events, recorded = RECORDED[kind]["events"], RECORDED[kind]["snapshot"]
    snapshot = Snapshot.decode(recorded)
    assert not any(snapshot.apply(Event.decode(event)) for event in events), "it has them all"
    assert_includes(meaning(snapshot.encode()), meaning(recorded))
