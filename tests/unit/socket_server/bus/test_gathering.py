"""``Gathering``: when a server waits before it reads again."""

from __future__ import annotations

import pytest

from socket_server.bus.gathering import Gathering
from support.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gathering(clock):
    return Gathering(0.004, clock)


def test_an_event_that_comes_alone_is_read_at_once(gathering, clock):
    for _ in range(5):
        assert gathering.pause <= 0
        gathering.note(1)
        clock.tick(0.005)


def test_events_that_come_fast_are_read_together(gathering, clock):
    gathering.note(1)
    clock.tick(0.001)
    assert gathering.pause <= 0
    gathering.note(1)
    assert gathering.pause == pytest.approx(0.004)
    clock.tick(0.004)
    gathering.note(4)
    clock.tick(0.001)
    assert gathering.pause == pytest.approx(0.003)


def test_once_events_come_alone_again_none_is_delayed(gathering, clock):
    gathering.note(4)
    clock.tick(0.005)
    gathering.note(1)
    assert gathering.pause <= 0


def test_a_server_that_is_busy_for_longer_than_that_does_not_wait(gathering, clock):
    gathering.note(100)
    clock.tick(0.02)
    assert gathering.pause <= 0


def test_data_without_an_event_changes_nothing(gathering, clock):
    gathering.note(1)
    clock.tick(0.002)
    gathering.note(0)
    assert gathering.pause <= 0


def test_it_can_be_switched_off(clock):
    gathering = Gathering(0.0, clock)
    for _ in range(3):
        gathering.note(50)
        assert gathering.pause <= 0
