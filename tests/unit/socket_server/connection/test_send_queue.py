"""``SendQueue``: what waits for one client."""

from __future__ import annotations

import queue

import engineio
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
def send_queue(clock):
    kind = send_queue_class(queue.Queue, queue.Empty, most=1000)
    kind.clock = staticmethod(clock)
    return kind()


def drain(send_queue):
    """Return what a writer would take at once, as python-engineio does."""
    taken = [send_queue.get(timeout=1)]
    while True:
        try:
            taken.append(send_queue.get(block=False))
        except queue.Empty:
            return taken


def test_packets_come_in_order(send_queue):
    packets = [Packet(str(number)) for number in range(5)]
    for packet in packets:
        send_queue.put(packet)
    assert drain(send_queue) == packets


def test_the_newest_of_a_bar_replaces_the_one_that_waits_and_comes_last(send_queue):
    first, line, newest = Packet("1", "bar"), Packet("line"), Packet("2", "bar")
    for packet in (first, line, newest):
        send_queue.put(packet)
    assert drain(send_queue) == [line, newest]


def test_bars_of_different_tasks_do_not_replace_each_other(send_queue):
    packets = [Packet("1", "a"), Packet("1", "b")]
    for packet in packets:
        send_queue.put(packet)
    assert drain(send_queue) == packets


def test_a_million_states_of_a_bar_take_the_place_of_one(send_queue):
    for number in range(10_000):
        send_queue.put(Packet(str(number), "bar"))
    assert (len(send_queue.queue), send_queue.size, send_queue.over) == (1, 4, False)


def test_who_is_too_far_behind_costs_nothing_any_more(send_queue):
    for _ in range(11):
        send_queue.put(Packet("x" * 100))
    assert send_queue.over
    assert (len(send_queue.queue), send_queue.size) == (0, 0)
    send_queue.put(Packet("more"))
    assert len(send_queue.queue) == 0


def test_the_end_reaches_the_writer_of_who_was_too_far_behind(send_queue):
    for packet in [Packet("x" * 600), Packet("x" * 600), None]:
        send_queue.put(packet)
    assert send_queue.get(timeout=1) is None


def test_one_packet_that_is_larger_than_the_bound_is_sent_all_the_same(send_queue):
    send_queue.put(large := Packet("x" * 5000))
    assert not send_queue.over
    assert send_queue.get(timeout=1) is large


def test_a_writer_does_not_get_everything_at_once(send_queue):
    send_queue.most = 10 * HANDED_OUT
    packets = [Packet("x" * HANDED_OUT) for _ in range(3)]
    for packet in packets:
        send_queue.put(packet)
    assert drain(send_queue) == packets[:1]
    assert drain(send_queue) == packets[1:2]


def test_who_takes_nothing_is_stuck_until_it_comes_back_for_more(send_queue, clock):
    assert send_queue.stuck() == 0.0
    for number in range(2):
        send_queue.put(Packet(str(number)))
    send_queue.get(timeout=1)
    clock.tick(7.0)
    assert send_queue.stuck() == pytest.approx(7.0)
    send_queue.get(timeout=1)
    assert send_queue.stuck() == 0.0


def test_nobody_waits_for_what_is_not_taken(send_queue):
    send_queue.put(Packet("x"))
    send_queue.join()  # would hang
    send_queue.task_done()


def new_answer(size=10):
    return Answer("3/jobs,1", Body({"text": "x" * size}))


def test_an_answer_waits_until_the_writer_comes_back_for_more(send_queue):
    assert not send_queue.answering
    send_queue.put(new_answer())
    assert send_queue.answering
    send_queue.get(timeout=1)
    assert send_queue.answering
    send_queue.put(Packet("x"))
    send_queue.get(timeout=1)
    assert not send_queue.answering


def test_who_waits_for_an_answer_to_be_taken_sleeps_longer_and_longer(send_queue):
    send_queue.put(new_answer())
    slept = []
    assert not send_queue.await_taken(slept.append, timeout=2.0)
    assert slept[0] == 0.0
    assert slept == sorted(slept)
    assert 2.0 <= sum(slept) < 2.5
    send_queue.put(None)
    assert send_queue.await_taken(slept.append)


def test_an_answer_counts_with_what_it_holds_and_not_with_what_it_tells(send_queue):
    journal = Journal()
    for seq in range(200):
        data = {"lines": [{"message": "x" * 5_000}]}
        journal.fold(Event(job="j", task="j", type="log", run=1, seq=seq, at=1.0, data=data))
    body = journal.view("j").encode()
    send_queue.put(Answer("3/jobs,1", body))
    assert body.size > 1_000_000
    assert send_queue.size < 2_000


def test_of_what_is_written_at_once_no_more_is_joined_than_was_asked_for(send_queue):
    send_queue.most = 10**6
    sent = [Shared("a" * 600), Shared("b" * 600), Shared("c" * 5_000), Shared("d")]
    for one in sent:
        send_queue.put_frame(one)
    taken = []
    while send_queue.queue:
        taken.append(send_queue.take(1_500)[0])
    assert taken == [[sent[0].data, sent[1].data], [sent[2].data], [sent[3].data]]
    assert taken[1][0] is sent[2].data
    assert send_queue.size == 0


def test_an_answer_is_taken_in_pieces_and_nothing_comes_between_them(send_queue):
    send_queue.most = 10**6
    before, behind = Shared("before"), Shared("behind")
    for one in (before, new_answer(20_000), behind):
        send_queue.put_frame(one)
    assert send_queue.take(4_096) == ([before.data], False)
    pieces = []
    while send_queue.answering:
        [piece], _ = send_queue.take(4_096)
        pieces.append(piece)
    assert len(pieces) == 5
    assert max(map(len, pieces)) <= 4_096 + 4
    assert send_queue.take(4_096) == ([behind.data], False)
    send_queue.put(None)
    assert send_queue.take(4_096) == ([], True)


@pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")
@pytest.mark.parametrize("mode", ["eventlet", "gevent"])
def test_the_queues_of_eventlet_and_gevent_are_bounded_too(mode):
    made = engineio.Server(async_mode=mode)._async
    one = send_queue_class(made["queue"], made["queue_empty"], 100)()
    one.put(Shared("old bar", "bar"))
    one.put(Shared("line"))
    one.put(Shared("new bar", "bar"))
    assert [one.get().text, one.get(block=False).text] == ["4line", "4new bar"]
    with pytest.raises(made["queue_empty"]):
        one.get(block=False)
    for _ in range(3):
        one.put(Shared("x" * 50))
    assert one.over
