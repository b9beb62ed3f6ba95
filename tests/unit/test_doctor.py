"""What ``taskbridge doctor`` makes of what a server tells."""

from __future__ import annotations

import math

import pytest

from bridge.cli import doctor
from bridge.client import Bridge
from bridge.settings import Settings


@pytest.fixture
def told(monkeypatch):
    """Return what doctor says of servers that answer with so far a reach."""

    def told(*reaches):
        environ = {"TASKBRIDGE_SECRET": "x" * 32, "TASKBRIDGE_SHARDS": str(len(reaches))}
        answers = [
            {"time": 0.0, "shard": shard, "shards": len(reaches), "reach": reach}
            for shard, reach in enumerate(reaches)
        ]
        monkeypatch.setattr(doctor, "_health", lambda url: answers.pop(0))
        return doctor._server({"bridge": Bridge(settings=Settings.from_environ(environ))})

    return told


def test_a_stream_that_reaches_back_less_than_a_server_replays_is_named_with_the_remedy(told):
    assert "back 0 s of TASKBRIDGE_REPLAY=3600: raise TASKBRIDGE_STREAM_BYTES" in told(0.0)
    assert "back 120 s of" in told(3600.0, 120.4)


@pytest.mark.parametrize("reach", [None, 3600.0, math.inf])
def test_nothing_is_said_of_one_that_reaches_as_far_or_is_not_known(told, reach):
    assert told(reach) == "http://127.0.0.1:8000"
