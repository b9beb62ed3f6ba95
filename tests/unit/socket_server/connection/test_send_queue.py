"""Backlog: what waits for one client."""

from __future__ import annotations

import queue

import pytest

from bridge.protocol.event import Event
from socket_server.connection.send_queue import HANDED_OUT, send_queue_class
from socket_server.connection.shared_packet import Shared
from socket_server.journal.journal import Journal
from socket_server.messages.answer import Answer, Body
from support.clock import Clock


class Packet:
    def __init__(self, data, latest=None):
        self.data, self.latest = data, latest


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backlog(clock):
    kind = send_queue_class(queue.Queue, queue.Empty, most=1000)
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


def new_answer(size=10):
    return Answer("3/jobs,1", Body({"text": "x" * size}))


def test_an_answer_waits_until_the_writer_comes_back_for_more(backlog):
    assert not backlog.answering
    backlog.put(new_answer())
    assert backlog.answering
    backlog.get(timeout=1)
    assert backlog.answering
    backlog.put(Packet("x"))
    backlog.get(timeout=1)
    assert not backlog.answering


def test_who_waits_for_an_answer_to_be_taken_sleeps_longer_and_longer(backlog):
    backlog.put(new_answer())
    slept = []
    assert not backlog.await_taken(slept.append, timeout=2.0)
    assert slept[0] == 0.0
    assert slept == sorted(slept)
    assert 2.0 <= sum(slept) < 2.5
    backlog.put(None)
    assert backlog.await_taken(slept.append)


def test_an_answer_counts_with_what_it_holds_and_not_with_what_it_tells(backlog):
    journal = Journal()
    for seq in range(200):
        data = {"lines": [{"message": "x" * 5_000}]}
        journal.fold(Event(job="j", task="j", type="log", run=1, seq=seq, at=1.0, data=data))
    body = journal.view("j").encode()
    backlog.put(Answer("3/jobs,1", body))
    assert body.size > 1_000_000
    assert backlog.size < 2_000


def test_of_what_is_written_at_once_no_more_is_joined_than_was_asked_for(backlog):
    backlog.most = 10**6
    sent = [Shared("a" * 600), Shared("b" * 600), Shared("c" * 5_000), Shared("d")]
    for one in sent:
        backlog.put_frame(one)
    taken = []
    while backlog.queue:
        taken.append(backlog.take(1_500)[0])
    assert taken == [[sent[0].data, sent[1].data], [sent[2].data], [sent[3].data]]
    assert taken[1][0] is sent[2].data
    assert backlog.size == 0


def test_an_answer_is_taken_in_pieces_and_nothing_comes_between_them(backlog):
    backlog.most = 10**6
    before, behind = Shared("before"), Shared("behind")
    for one in (before, new_answer(20_000), behind):
        backlog.put_frame(one)
    assert backlog.take(4_096) == ([before.data], False)
    pieces = []
    while backlog.answering:
        [piece], _ = backlog.take(4_096)
        pieces.append(piece)
    assert len(pieces) == 5
    assert max(map(len, pieces)) <= 4_096 + 4
    assert backlog.take(4_096) == ([behind.data], False)
    backlog.put(None)
    assert backlog.take(4_096) == ([], True)
