"""Clients that never read cost little, and go."""

from __future__ import annotations

import json
import os
import resource
import sys
import urllib.request
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest

from bridge.errors import JobNotFound
from bridge.sending.process_emitters import emitter_for
from support.largest import FULL, REQUESTS, history_of, publish_largest
from support.raw import Raw
from support.stack import MODE, OWN_SERVERS
from support.wait import until

CLIENTS = int(os.environ.get("NEVER_READING", "500"))
#: Bytes by which the server may grow for each of them, while they are there and after.
EACH = 64 * 1024
SLOW_AFTER = 2.0
#: Connections to the address of each, so that no limit on addresses is in the way.
HOSTS = 10


#: What else would stop so many clients, or so much that is asked for.
LIMITS = {
    "TASKBRIDGE_SLOW_AFTER": str(SLOW_AFTER),
    "TASKBRIDGE_CONNECTS_PER_SECOND": "10000",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": str(2 * CLIENTS),
    "TASKBRIDGE_OWNER_REQUESTS_PER_SECOND": "10000",
    # This process pushes more than a worker may.
    "TASKBRIDGE_LINE_BYTES_PER_SECOND": str(1 << 30),
}
UNLIMITED = {
    "TASKBRIDGE_ANSWER_BYTES_PER_SECOND": str(1 << 40),
    "TASKBRIDGE_OWNER_ANSWER_BYTES_PER_SECOND": str(1 << 40),
}
OWNER = "crowd"


@pytest.fixture
def stack(rabbitmq, new_stack):
    stack = new_stack(rabbitmq.new_vhost(), **LIMITS)
    stack.start_server()
    return stack


@pytest.fixture(autouse=True)
def _many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid):
    """Return a process's resident memory, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def connect(stack, number, owner):
    """Return a client of an owner."""
    address = f"127.0.1.{1 + number % HOSTS}"
    raw = Raw("127.0.0.1", stack.port, address, receive_buffer=2048)
    try:
        assert raw.open().connect(stack.token(owner=owner, ttl=3600)).startswith("40/jobs,")
    except BaseException:
        raw.close()
        raise
    return raw


@pytest.mark.timeout(400)
@pytest.mark.parametrize("shared", [True, False], ids=["one owner", "an owner each"])
def test_the_server_grows_little_and_all_are_gone_within_the_limit(stack, shared):
    [server] = stack.servers
    # With threads, each client holds one of gunicorn's 200.
    count = CLIENTS if MODE in OWN_SERVERS else min(CLIENTS, 90)
    pid = server.pid if MODE in OWN_SERVERS else worker_of(server.pid)
    if MODE == "threading":
        fill_pool(stack)
    owners = ["crowd"] * count if shared else [f"owner-{number}" for number in range(count)]
    with ExitStack() as clients:
        for number, owner in enumerate(owners):
            client = clients.enter_context(connect(stack, number, owner))
            assert client.ask("jobs", {})["ok"]  # and reads no more
        before, most = memory(pid), 0

        def gone():
            nonlocal most
            # Not events of a job, which a server keeps for those who come later.
            for owner in dict.fromkeys(owners):
                stack.bridge.push("notice", "x" * 8_000, owner=owner)
            assert emitter_for(stack.settings).flush(30)
            most = max(most, memory(pid))
            return server.output.count("disconnected a client: slow") >= count

        until(gone, 300, "all of them to be gone")
        growth = (most - before) / count
        after = (memory(pid) - before) / count
    told = f"{count} clients: {growth:,.0f} bytes each at most, {after:,.0f} when they were gone\n"
    sys.stdout.write(told)
    assert growth < EACH
    assert after < EACH
    assert stack.healthy()


class Polling:
    """A client without a WebSocket; it takes its answers with requests of plain HTTP.

    Args:
        stack: whose server.
        number: of the client.
    """

    def __init__(self, stack, number):
        self._url, self._path = stack.url, "/socket.io/?EIO=4&transport=polling"
        self._path += f"&sid={json.loads(self._ask()[1:])['sid']}"
        token = stack.token(owner=OWNER, ttl=3600)
        assert self._ask(f"40/jobs,{json.dumps({'token': token})}".encode()) == "OK"
        assert self._ask().startswith("40/jobs,")
        address = f"127.0.1.{1 + number % HOSTS}"
        self._asking, self._taking = (
            Raw("127.0.0.1", stack.port, address, receive_buffer=2048) for _ in range(2)
        )

    def _ask(self, body=None):
        with urllib.request.urlopen(self._url + self._path, body, timeout=10) as answer:
            return answer.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._asking.close()
        self._taking.close()

    def say(self, text):
        """Send a packet whose answer is begun to be taken, but not read."""
        body = text.encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._asking.send(head.encode() + body)
        self._taking.send(f"GET {self._path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


class Streaming:
    """A client of an event stream that reads nothing of it.

    Args:
        stack: whose server.
        number: of the client.
    """

    def __init__(self, stack, number):
        address = f"127.0.1.{1 + number % HOSTS}"
        self._raw = Raw("127.0.0.1", stack.port, address, receive_buffer=2048)
        self._token = stack.token(owner=OWNER, ttl=3600)
        self._asked = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._raw.close()

    def say(self, _):
        """Ask for the stream of the job with the longest history, once."""
        if not self._asked:
            line = f"GET /api/jobs/{FULL}/events HTTP/1.1"
            self._raw.request_head(line, f"Authorization: Bearer {self._token}")
        self._asked = True


#: What each client of a way is; others have a WebSocket.
KINDS = {"polling": Polling, "event streams": Streaming}
#: Events of a job before it is watched, and those that come while the answer is on its way.
HISTORY, LIVE = 800, 40
#: Each way in which a server writes to clients; how many of them there are, and more settings.
WAYS = {
    "eventlet": ("eventlet", CLIENTS, {}),
    "eventlet on the libraries' own ways": ("eventlet", 100, {"TASKBRIDGE_FAST_PATH": "0"}),
    "threads": ("threading", 40, {}),
    "gevent": ("gevent-serve", CLIENTS, {}),
    "gunicorn with gevent": ("gevent", 100, {}),
    "event streams": ("eventlet", CLIENTS, {}),
    "event streams on gevent": ("gevent-serve", CLIENTS, {}),
    "event streams with threads": ("threading", 40, {}),
    "polling": ("eventlet", 100, {"TASKBRIDGE_TRANSPORTS": "websocket,polling"}),
    "polling with threads": ("threading", 40, {"TASKBRIDGE_TRANSPORTS": "websocket,polling"}),
}
#: Ways that differ from another one in a part that is tested elsewhere as well.
LONG = {
    "eventlet on the libraries' own ways",
    "event streams on gevent",
    "event streams with threads",
    "polling with threads",
    "gunicorn with gevent",
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.long] * (way in LONG)) for way in WAYS]
)
def test_the_largest_answers_cost_little_when_nobody_reads_them(
    rabbitmq, new_stack, monkeypatch, way
):
    mode, count, settings = WAYS[way]
    count = min(count, CLIENTS)
    monkeypatch.setattr("support.stack.MODE", mode)
    stack = new_stack(rabbitmq.new_vhost(), **LIMITS, **UNLIMITED, **settings)
    server = stack.start_server()
    last = publish_largest(stack.settings, OWNER)
    until(lambda: is_running(stack, last), 60, "all events to be read")
    kind = next((kind for name, kind in KINDS.items() if way.startswith(name)), None)
    new = kind or (lambda *who: connect(*who, OWNER))
    pid = server.pid if mode in OWN_SERVERS else worker_of(server.pid)
    if mode == "threading":
        fill_pool(stack)
    with ExitStack() as stack_of_clients:
        clients = [stack_of_clients.enter_context(new(stack, number)) for number in range(count)]
        before, most = memory(pid), 0
        for number, (name, payload) in enumerate(REQUESTS * 2, 1):
            for client in clients:
                client.say(f"42/jobs,{number}{json.dumps([name, payload])}")

        def gone():
            nonlocal most
            most = max(most, memory(pid))
            return server.output.count("disconnected a client: slow") >= count

        until(gone, 60, "all of them to be gone", interval=0.05)
    growth = (most - before) / count
    sys.stdout.write(f"{way}: {count} clients: {growth:,.0f} bytes each at most\n")
    # Under threads, each request that waits for packets holds a thread of gunicorn.
    assert growth < (2 * EACH if way == "polling with threads" else EACH)
    assert stack.healthy()


def is_running(stack, job):
    try:
        return stack.bridge.status(job)["state"] == "running"
    except JobNotFound:
        return False


def worker_of(pid):
    """Return the process of gunicorn's worker."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def fill_pool(stack):
    """Make gunicorn start all its threads, which stay: they are not what a client costs."""
    with ExitStack() as clients:
        for number in range(90):
            clients.enter_context(connect(stack, number, OWNER))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["eventlet", "threads", "gevent"])
def test_who_reads_a_long_history_slowly_gets_all_of_it_and_what_came_meanwhile(
    rabbitmq, new_stack, monkeypatch, way
):
    monkeypatch.setattr("support.stack.MODE", WAYS[way][0])
    stack = new_stack(rabbitmq.new_vhost(), **LIMITS)
    stack.start_server()
    with history_of(stack.settings, "long", OWNER) as publish:
        for _ in range(HISTORY):
            publish("x" * 3_000)
        until(lambda: is_running(stack, "long"), 20, "the job")
        with connect(stack, 0, OWNER) as client:
            client.say('42/jobs,1["watch",{"job":"long"}]')
            client.say('42/jobs,2["jobs",{}]')
            for _ in range(LIVE):
                publish("live")
            assert stack.bridge.status("long")["state"] == "running"
            # Byte by byte, as it were: the server's part of it has to wait for the client.
            begin = "43/jobs,1["
            answer = client.message(timeout=60)
            assert answer.startswith(begin)
            [told] = json.loads(answer[len(begin) - 1 :])
            assert told["recovered"]
            seqs = [event["seq"] for event in told["events"]]
            while len(seqs) < HISTORY + LIVE:
                message = client.message()
                if message.startswith('42/jobs,["job"'):
                    seqs.append(json.loads(message[8:])[1]["seq"])
                else:
                    assert message.startswith("43/jobs,2[")
        assert seqs == list(range(HISTORY + LIVE))
        watched = list(islice(stack.bridge.watch("long", timeout=20), HISTORY + LIVE))
        assert [event["seq"] for event in watched] == seqs
