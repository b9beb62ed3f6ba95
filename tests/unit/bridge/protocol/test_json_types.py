"""The types of Python, those of TypeScript and what is really sent name the same fields."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from bridge.protocol import json_types
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from bridge.reporting.meter import Meter, Reading
from support.process import ROOT

TYPESCRIPT = (ROOT / "socket_server/web/src/client/protocol.ts").read_text()
#: Names of the types in TypeScript that have others there.
NAMES = {"Bar": "BarData"}
TYPES = ("Bar", "Expectation", "JobEvent", "JobFailure", "LogLine", "QueuePlace", "SnapshotData")


def fields_in_typescript(name: str) -> set[str]:
    """Return the fields of an interface."""
    body = re.search(rf"export interface {name} {{\n(.*?)\n}}", TYPESCRIPT, re.DOTALL)
    assert body is not None
    return set(re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE))


@pytest.mark.parametrize("name", [*TYPES, "TaskData"])
def test_an_interface_of_the_client_has_the_fields_of_the_type(name):
    fields = getattr(json_types, NAMES.get(name, name)).__annotations__
    assert fields_in_typescript(name) == set(fields)


def test_the_states_of_the_client_are_those_of_the_type():
    states = re.search(r"export type State = (.*?);", TYPESCRIPT, re.DOTALL)
    ends = re.search(r"export type Ending = (.*?);", TYPESCRIPT, re.DOTALL)
    assert states is not None
    assert ends is not None
    assert set(re.findall(r'"(\w+)"', states[1] + ends[1])) == set(get_args(json_types.JobState))


def test_what_is_sent_has_the_fields_of_its_type():
    bar = Meter(lambda: Reading(n=1, total=2)).sample(0)
    snapshot = Snapshot("j")
    for seq, kind in enumerate(["started", "succeeded"]):
        event = Event(job="j", task="j", type=kind, at=1.0, run=1, seq=seq, data={"result": 1})
        assert event.encode().keys() == json_types.JobEvent.__required_keys__
        snapshot.apply(event)
    encoded = snapshot.encode()
    assert encoded.keys() >= json_types.SnapshotData.__required_keys__
    assert encoded.keys() <= json_types.SnapshotData.__annotations__.keys()
    assert encoded["tasks"][0].keys() == json_types.TaskData.__annotations__.keys()
    assert bar.keys() == json_types.BarData.__required_keys__
