"""The embedded broker: every message once, in order, whole, whoever reads, writes or dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from queue import Empty

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from bridge.bus import embedded_transport

WRITERS, MESSAGES, READERS = 4, 500, 2
FAN = Exchange("fan", type="fanout", durable=False)

WRITER = """
import sys
from bridge.bus import embedded_transport as transport
from kombu import Connection
transport.register()
url, writer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Connection(url) as connection:
    queue = connection.SimpleQueue("q")
    sys.stdin.readline()
    for number in range(count):
        queue.put({"writer": writer, "number": number, "filling": "x" * 2000})
"""
READER = """
import json, sys
from queue import Empty
from bridge.bus import embedded_transport as transport
from kombu import Connection
transport.register()
last = 0
with Connection(sys.argv[1], transport_options={"polling_interval": 0.01}) as connection:
    queue = connection.SimpleQueue("q", no_ack=True)
    print("ready", flush=True)
    while True:
        try:
            body = queue.get(timeout=10).payload
        except Empty:
            sys.exit("no message came for 10 s")
        if body == "end":
            break
        assert len(body["filling"]) == 2000
        print(body["writer"], body["number"], flush=False)
"""
DEAD = """
import sys
from bridge.bus import embedded_transport as transport
from kombu import Connection, Exchange, Queue
transport.register()
connection = Connection(sys.argv[1])
queue = Queue("dead", Exchange("fan", type="fanout", durable=False), durable=False)
queue.bind(connection.default_channel).declare()
"""


@pytest.fixture
def url(tmp_path):
    embedded_transport.register()
    return f"embedded://localhost{tmp_path}/broker"


@pytest.fixture
def connection(url):
    with Connection(url) as connection:
        yield connection


@pytest.fixture
def start(url):
    """Start Python programs that are given the broker's URL; all are ended with the test."""
    started = []

    def start(program, *arguments):
        argv = [sys.executable, "-c", program, url, *map(str, arguments)]
        started.append(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def put(connection, *bodies, queue="q"):
    producer = Producer(connection.default_channel)
    for body in bodies:
        producer.publish(body, routing_key=queue, declare=[Queue(queue)])


def take(channel, queue="q"):
    """Return the bodies of all messages that wait in a queue."""
    bodies = []
    while (message := Queue(queue).bind(channel).get(no_ack=True)) is not None:
        bodies.append(message.payload)
    return bodies


def messages(tmp_path, queue="q"):
    return sorted((tmp_path / "broker" / "queues" / queue).glob("*.msg"))


def test_messages_are_read_in_the_order_of_publishing(connection):
    put(connection, *range(200))
    assert take(connection.default_channel) == list(range(200))


def test_messages_wait_for_a_reader_that_comes_later(url):
    with Connection(url) as connection:
        put(connection, "kept")
    with Connection(url) as connection:
        assert take(connection.default_channel) == ["kept"]


def test_two_readers_that_listed_the_same_messages_share_none_of_them(url):
    with Connection(url) as one, Connection(url) as other:
        put(one, *range(10))
        queues = [Queue("q").bind(reader.default_channel) for reader in (one, other)]
        seen = [queues[number % 2].get(no_ack=True).payload for number in range(10)]
        assert sorted(seen) == list(range(10))
        assert [queue.get(no_ack=True) for queue in queues] == [None, None]


def test_what_is_not_whole_yet_is_not_read(connection, tmp_path):
    put(connection, "whole")
    folder = tmp_path / "broker" / "queues" / "q"
    (folder / ".1-1.part").write_text('{"half": ')
    assert Queue("q").bind(connection.default_channel).queue_declare(passive=True)[1] == 1
    assert take(connection.default_channel) == ["whole"]


def test_a_binding_that_is_not_whole_yet_is_passed_over(connection, tmp_path):
    queue = Queue("one", FAN).bind(connection.default_channel)
    queue.declare()
    (tmp_path / "broker" / "bindings" / "fan" / ".1-1.part").write_text("")
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert take(connection.default_channel, "one") == ["x"]


def test_a_message_that_a_consumer_did_not_acknowledge_goes_back(url):
    with Connection(url) as connection:
        put(connection, "again")
        message = Queue("q").bind(connection.default_channel).get()
        assert message.payload == "again"
        message.requeue()
    with Connection(url) as connection:
        assert take(connection.default_channel) == ["again"]


def test_a_fan_out_gives_each_queue_a_copy(url):
    with Connection(url) as one, Connection(url) as other:
        Queue("one", FAN).bind(one.default_channel).declare()
        Queue("other", FAN).bind(other.default_channel).declare()
        with Connection(url) as writer:
            producer = Producer(writer.default_channel, exchange=FAN)
            for number in range(3):
                producer.publish(number)
        assert take(one.default_channel, "one") == [0, 1, 2]
        assert take(other.default_channel, "other") == [0, 1, 2]


def test_a_queue_that_is_bound_twice_gets_one_copy(connection):
    for _ in range(2):
        Queue("one", FAN).bind(connection.default_channel).declare()
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert take(connection.default_channel, "one") == ["x"]


def test_a_deleted_queue_is_sent_nothing_more(connection, tmp_path):
    queue = Queue("one", FAN).bind(connection.default_channel)
    queue.declare()
    queue.delete()
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert not (tmp_path / "broker" / "queues" / "one").exists()


def test_deleting_a_queue_leaves_the_bindings_of_those_with_a_longer_name(connection):
    for name in ("one", "one more"):
        Queue(name, FAN).bind(connection.default_channel).declare()
    Queue("one", FAN).bind(connection.default_channel).delete()
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert take(connection.default_channel, "one more") == ["x"]


@pytest.mark.parametrize(
    "name", ["a/b", "é", "with space", "a%2Fb", "x" * 60, "celery@host.pidbox"]
)
def test_a_queue_may_have_any_name(connection, name, tmp_path):
    put(connection, "x", queue=name)
    assert take(connection.default_channel, name) == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["broker"]


def test_a_purge_empties_a_queue_and_counts_also_what_was_listed_already(connection, tmp_path):
    put(connection, *range(5))
    queue = Queue("q").bind(connection.default_channel)
    assert queue.get(no_ack=True).payload == 0
    assert queue.purge() == 4
    assert messages(tmp_path) == []
    assert queue.get(no_ack=True) is None
    put(connection, "after")
    assert take(connection.default_channel) == ["after"]


def test_two_brokers_in_one_process_are_two_brokers(tmp_path):
    embedded_transport.register()
    for name in ("one", "other"):
        with Connection(f"embedded://localhost{tmp_path}/{name}") as connection:
            Queue("q", FAN).bind(connection.default_channel).declare()
            Producer(connection.default_channel, exchange=FAN).publish(name)
            assert take(connection.default_channel) == [name]


def test_the_queue_of_a_dead_process_and_its_binding_are_pruned(start, connection, tmp_path):
    assert start(DEAD).wait(30) == 0
    assert (tmp_path / "broker" / "queues" / "dead").is_dir()
    Queue("alive", FAN, durable=False).bind(connection.default_channel).declare()
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert [path.name for path in (tmp_path / "broker" / "queues").iterdir()] == ["alive"]
    assert len(list((tmp_path / "broker" / "bindings" / "fan").iterdir())) == 1
    assert take(connection.default_channel, "alive") == ["x"]


def test_a_durable_queue_outlives_the_process_that_made_it(start, connection, tmp_path):
    program = DEAD.replace('"dead"', '"kept"').replace(", durable=False)\nqueue.b", ")\nqueue.b")
    assert start(program).wait(30) == 0
    Producer(connection.default_channel, exchange=FAN).publish("x")
    assert take(connection.default_channel, "kept") == ["x"]


def test_threads_of_one_process_never_overwrite_each_others_messages(url, tmp_path, monkeypatch):
    # A clock that stands still is the worst case: all names are made of the same moment.
    monkeypatch.setattr("time.time_ns", lambda: 1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def write():
        with Connection(url) as connection:
            put(connection, *range(50))

    try:
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(messages(tmp_path)) == 200


def test_names_sort_in_the_order_of_publishing_even_if_the_clock_goes_back(monkeypatch):
    moments = iter([5, 5, 3, 9, 9, 1])
    monkeypatch.setattr("time.time_ns", lambda: 10**19 + next(moments))
    names = [embedded_transport._next_name() for _ in range(6)]
    assert names == sorted(names)
    assert len(set(names)) == 6


def test_a_consumer_hears_of_messages_from_another_connection(url):
    heard = []
    with Connection(url) as reader, Connection(url) as writer:
        consumer = Consumer(
            reader, [Queue("q")], callbacks=[lambda body, _: heard.append(body)], no_ack=True
        )
        with consumer:
            put(writer, "a", "b")
            reader.drain_events(timeout=10)
            reader.drain_events(timeout=10)
    assert heard == ["a", "b"]


def test_processes_that_write_and_read_at_once_lose_and_repeat_nothing(start, url, tmp_path):
    readers = [start(READER) for _ in range(READERS)]
    writers = [start(WRITER, number, MESSAGES) for number in range(WRITERS)]
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.close()
        writer.stdin = None
    for writer in writers:
        assert writer.wait(60) == 0
    with Connection(url) as connection:
        queue = connection.SimpleQueue("q")
        for _ in readers:
            queue.put("end")
        outputs = [reader.communicate(timeout=60)[0] for reader in readers]
        assert [reader.returncode for reader in readers] == [0] * READERS
        with pytest.raises(Empty):
            queue.get_nowait()
    seen = [[tuple(map(int, row.split())) for row in text.splitlines()] for text in outputs]
    counts = Counter(row for rows in seen for row in rows)
    assert counts == {(w, n): 1 for w in range(WRITERS) for n in range(MESSAGES)}
    for rows in seen:
        for writer in range(WRITERS):
            mine = [number for at, number in rows if at == writer]
            assert mine == sorted(mine)
    leftovers = list((tmp_path / "broker").rglob("*.part"))
    assert leftovers == []


def test_a_message_is_plain_json_on_disk(connection, tmp_path):
    put(connection, {"a": 1})
    [file] = messages(tmp_path)
    assert json.loads(file.read_text())["properties"]["delivery_info"]["routing_key"] == "q"
