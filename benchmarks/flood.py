"""Publishes events of so many jobs, in turn: as many as stdin asks for, line by line.

``N`` publishes the next N at once, ``N RATE`` so many a second. When all of a line are published, a
line says how many that were.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import kombu
import msgspec
import socketio

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridge.bus.write_only_manager import CONNECTION_OPTIONS
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings

__all__ = ["job_of", "main", "messages"]


def job_of(number: int) -> str:
    """Return the id of a job."""
    return f"{number:08d}-0000-4000-8000-000000000000"


def template(number: int, kind: str, task: int | None = None) -> bytes:
    """Return an event of a job as it travels, but for its sequence, tick and time.

    Args:
        number: of the job.
        kind: type of the event.
        task: number of its task; default None for the job's own task.
    """
    bar = {"position": 0, "desc": "files", "unit": "file", "unit_scale": False, "n": 5, "total": 9}
    bar |= {"postfix": "", "rate": 12.5, "eta": 3.2, "elapsed": 1.5, "closed": False}
    line = {"at": 1763846400.5, "level": "INFO", "message": "a line as a job says them, or so"}
    data = {"progress": {"bars": [bar, bar]}, "log": {"lines": [line]}}
    job = job_of(number)
    id = job if task is None else job_of(task)
    told = {"v": 1, "job": job, "task": id, "type": kind, "at": "%.6f", "name": "app.work"}
    place = {"owner": None, "run": 1763846400123456, "seq": "%d", "tick": "%d"}
    event = {**told, **place, "data": data.get(kind, {"attempt": 1, "total": 1})}
    message = {"method": "emit", "event": "job", "data": [event], "binary": False}
    message |= {"namespace": "/jobs", "room": f"job:{job}", "skip_sid": None, "callback": None}
    text = json.dumps({**message, "host_id": "benchmark"})
    return text.replace('"%d"', "%d").replace('"%.6f"', "%.6f").encode()


def messages(jobs: int, kind: str, tasks: int = 1) -> Iterator[bytes]:
    """Yield the beginnings of the jobs' tasks, and then their events in turn, without end."""
    # The first task of a job is the job's own.
    places = [(job, task or None) for task in range(tasks) for job in range(jobs)]
    begin = [template(job, "started", task) for job, task in places]
    yield from (one % (time.time(), 0, 0) for one in begin)
    each, count = [template(job, kind, task) for job, task in places], 0
    while True:
        count += 1
        place = (0, count) if kind == "progress" else (count, 0)
        for one in each:
            yield one % (time.time(), *place)


def paced(publish: Callable[[], None], count: int, rate: float) -> None:
    """Publish so many, so many a second."""
    begun = time.perf_counter()
    for number in range(count):
        wait = begun + number / rate - time.perf_counter() if rate else 0.0
        if wait > 0:
            time.sleep(wait)
        publish()


@contextmanager
def to_broker(
    url: str, channel: str, jobs: int, kind: str, tasks: int = 1
) -> Iterator[Callable[[], None]]:
    """Yield what publishes the next event, as fast as can be."""
    waiting = messages(jobs, kind, tasks)
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange(channel, "fanout", durable=False)
        producer = connection.Producer(exchange=exchange)
        producer.declare()
        basic, body = producer.channel.basic_publish, producer.channel.prepare_message
        properties = {"delivery_mode": 2}

        def publish() -> None:
            message = body(next(waiting), None, "text/plain", "utf-8", {}, properties)
            basic(message, exchange=channel, routing_key="")

        yield publish


@contextmanager
def by_stock(url: str, channel: str, jobs: int, kind: str) -> Iterator[Callable[[], None]]:
    """Yield what emits the next event, as a task does by the plain recipe."""
    manager = socketio.KombuManager(url, channel=channel, write_only=True)
    waiting = (json.loads(one) for one in messages(jobs, kind))

    def publish() -> None:
        message = next(waiting)
        manager.emit("job", message["data"][0], namespace="/jobs", room=message["room"])

    yield publish


@contextmanager
def by_ours(url: str, channel: str, jobs: int, kind: str) -> Iterator[Callable[[], None]]:
    """Yield what hands over the next event, as a job does with us."""
    environ = {"TASKBRIDGE_EVENTS_URL": url, "TASKBRIDGE_CHANNEL": channel}
    emitter = emitter_for(Settings.from_environ(environ))
    names = [job_of(number) for number in range(jobs)]
    runs = itertools.cycle(
        [Run(job=name, task=name, name="app.work", owner=None) for name in names]
    )
    waiting = (json.loads(one)["data"][0] for one in messages(jobs, kind))

    def publish() -> None:
        event = next(waiting)
        emitter.put(next(runs), event["type"], event["data"])

    yield publish


@contextmanager
def by_ours_unconfirmed(
    url: str, channel: str, jobs: int, kind: str
) -> Iterator[Callable[[], None]]:
    """Yield the same, without waiting for the broker's confirms."""
    CONNECTION_OPTIONS["transport_options"]["confirm_publish"] = False
    with by_ours(url, channel, jobs, kind) as publish:
        yield publish


@contextmanager
def to_node(url: str, channel: str, jobs: int, kind: str) -> Iterator[Callable[[], None]]:
    """Yield what publishes the next event as Node's ``@socket.io/redis-emitter`` does."""
    waiting, broker = (json.loads(one) for one in messages(jobs, kind)), urlsplit(url)
    with socket.create_connection((broker.hostname, broker.port)) as redis:
        redis.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        redis.sendall(command(b"CLIENT", b"REPLY", b"OFF"))

        def publish() -> None:
            message = next(waiting)
            packet = {"type": 2, "data": ["job", *message["data"]], "nsp": "/jobs"}
            options = {"rooms": [message["room"]], "except": [], "flags": {}}
            body = msgspec.msgpack.encode(["emitter", packet, options])
            redis.sendall(command(b"PUBLISH", f"socket.io#/jobs#{message['room']}#".encode(), body))

        yield publish


def command(*parts: bytes) -> bytes:
    """Return a command to Redis as it travels."""
    sized = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), sized)


#: Straight to the broker, or by the call that a task makes with either; to Node's there is one.
WAYS = {
    "broker": to_broker,
    "plain recipe": by_stock,
    "taskbridge": by_ours,
    "taskbridge, unconfirmed": by_ours_unconfirmed,
    "Node": to_node,
}


def main() -> None:
    """Publish: ``flood.py URL CHANNEL JOBS KIND WAY TASKS``; several tasks only to the broker."""
    url, channel, jobs, kind, way, tasks = sys.argv[1:]
    several = {"tasks": int(tasks)} if int(tasks) > 1 else {}
    with WAYS[way](url, channel, int(jobs), kind, **several) as publish:
        paced(publish, int(jobs) * int(tasks), 0)
        print(jobs, flush=True)
        for line in sys.stdin:
            count, rate = (*map(float, line.split()), 0.0)[:2]
            paced(publish, int(count), rate)
            print(int(count), flush=True)


if __name__ == "__main__":
    main()
