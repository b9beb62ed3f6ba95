"""Backlog: what waits for one client."""

from __future__ import annotations

import queue

import pytest

from socket_server.backlog import HANDED_OUT, backlog_class
from support.clock import Clock


class Packet:
    def __init__(self, data, latest=None):
        self.data, self.latest = data, latest


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backlog(clock):
    kind = backlog_class(queue.Queue, queue.Empty, most=1000)
    kind.clock = staticmethod(clock)
    return kind()


def drain(backlog):
    """Return what a writer would take at once, as python-engineio does."""
    taken = [backlog.get(timeout=1)]
    while True:
        try:
            taken.append(backlog.get(block=False))
        except queue.Empty:
            return taken


def test_packets_come_in_order(backlog):
    packets = [Packet(str(number)) for number in range(5)]
    for packet in packets:
        backlog.put(packet)
    assert drain(backlog) == packets


def test_the_newest_of_a_bar_replaces_the_one_that_waits_and_comes_last(backlog):
    first, line, newest = Packet("1", "bar"), Packet("line"), Packet("2", "bar")
    for packet in (first, line, newest):
        backlog.put(packet)
    assert drain(backlog) == [line, newest]


def test_bars_of_different_tasks_do_not_replace_each_other(backlog):
    packets = [Packet("1", "a"), Packet("1", "b")]
    for packet in packets:
        backlog.put(packet)
    assert drain(backlog) == packets


def test_a_million_states_of_a_bar_take_the_place_of_one(backlog):
    for number in range(10_000):
        backlog.put(Packet(str(number), "bar"))
    assert (len(backlog.queue), backlog.size, backlog.over) == (1, 4, False)


def test_who_is_too_far_behind_costs_nothing_any_more(backlog):
    for _ in range(11):
        backlog.put(Packet("x" * 100))
    assert backlog.over
    assert (len(backlog.queue), backlog.size) == (0, 0)
    backlog.put(Packet("more"))
    assert len(backlog.queue) == 0


def test_the_end_reaches_the_writer_of_who_was_too_far_behind(backlog):
    for packet in [Packet("x" * 600), Packet("x" * 600), None]:
        backlog.put(packet)
    assert backlog.get(timeout=1) is None


def test_one_packet_that_is_larger_than_the_bound_is_sent_all_the_same(backlog):
    backlog.put(large := Packet("x" * 5000))
    assert not backlog.over
    assert backlog.get(timeout=1) is large


def test_a_writer_does_not_get_everything_at_once(backlog):
    backlog.most = 10 * HANDED_OUT
    packets = [Packet("x" * HANDED_OUT) for _ in range(3)]
    for packet in packets:
        backlog.put(packet)
    assert drain(backlog) == packets[:1]
    assert drain(backlog) == packets[1:2]


def test_who_takes_nothing_is_stuck_until_it_comes_back_for_more(backlog, clock):
    assert backlog.stuck() == 0.0
    for number in range(2):
        backlog.put(Packet(str(number)))
    backlog.get(timeout=1)
    clock.tick(7.0)
    assert backlog.stuck() == pytest.approx(7.0)
    backlog.get(timeout=1)
    assert backlog.stuck() == 0.0


def test_nobody_waits_for_what_is_not_taken(backlog):
    backlog.put(Packet("x"))
    backlog.join()  # would hang
    backlog.task_done()
