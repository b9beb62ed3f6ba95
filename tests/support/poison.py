"""Messages of tasks that no worker can run, as whoever may publish on the broker can send them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from kombu import Connection

__all__ = ["POISONS", "Poisoner", "nested"]


def nested(levels: int, kind: str = "list") -> Any:
    """Return lists, objects, or both in turn, nested in each other."""
    value: Any = 1
    for level in range(levels):
        is_list = kind == "list" or (kind == "mixed" and level % 2)
        value = [value] if is_list else {"a": value}
    return value


def _args(value: Any) -> dict[str, Any]:
    return {"body": [[value], {}, {}]}


def _body(value: Any) -> dict[str, Any]:
    return {"body": value}


def _headers(**headers: Any) -> dict[str, Any]:
    return {"headers": headers}


def _embed(**embed: Any) -> dict[str, Any]:
    return {"body": [[], {}, embed]}


#: What is wrong with each: other headers, another body (JSON, or bytes), other properties.
POISONS: dict[str, dict[str, Any]] = {
    "lists of 450 levels": _args(nested(450)),
    "lists of 600 levels": _args(nested(600)),
    "objects of 600 levels": _args(nested(600, "dict")),
    "both of 800 levels": _args(nested(800, "mixed")),
    "named arguments of 600 levels": _body([[], {"x": nested(600)}, {}]),
    "embed of 600 levels": _embed(chain=[{"task": "x", "args": nested(600), "options": {}}]),
    "lists of 60,000 levels": _body(b"[[" + b"[" * 60_000 + b"]" * 60_000 + b"], {}, {}]"),
    "a body that is not JSON": _body(b"not JSON"),
    "a body that is cut": _body(b"[[1], {"),
    "a body that is empty": _body(b""),
    "a body that is no text": _body(b"\xff\xfe\x00\x80"),
    "a body that is null": _body(None),
    "a body that is a string": _body("abc"),
    "a body that is a number": _body(7),
    "a body that is an object": _body({"a": 1}),
    "a body that is an object with three names": _body({"a": 1, "b": 2, "c": 3}),
    "a body with two parts": _body([[], {}]),
    "a body with four parts": _body([[], {}, {}, {}]),
    "a body of another type": {"content_type": "application/x-python-serialize"},
    "a body of a type that is none": {"content_type": "no such/type"},
    "a body that is not compressed as it says": _headers(compression="application/x-gzip"),
    "a compression that is none": _headers(compression="none of these"),
    "arguments that are a string": _body(["abc", {}, {}]),
    "arguments that are an object": _body([{"a": 1}, {}, {}]),
    "named arguments that are a list": _body([[], [1], {}]),
    "embed that is a string": _body([[], {}, "abc"]),
    "callbacks that are a number": _embed(callbacks=7),
    "errbacks that are strings": _embed(errbacks=["a"]),
    "errbacks without a task": _embed(errbacks=[{"args": []}]),
    "errbacks with odd arguments": {
        **_embed(errbacks=[{"task": "support.add", "args": 7, "kwargs": 7, "options": {}}]),
        **_headers(task="support.fail"),
    },
    "a chain without options": {
        **_embed(chain=[{"task": "support.add"}]),
        **_headers(task="support.fail"),
    },
    "a chord that is a list": _embed(chord=[1]),
    "a chain of numbers": _embed(chain=[1, 2]),
    "retries that are a string": _headers(retries="often"),
    "retries that are a list": _headers(retries=[1]),
    "retries below zero": _headers(retries=-1),
    "time limits that are a string": _headers(timelimit="ab"),
    "time limits that are strings": _headers(timelimit=["a", "b"]),
    "time limits that are three": _headers(timelimit=[1, 2, 3]),
    "an eta that is nonsense": _headers(eta="tomorrow"),
    "an eta that is empty": _headers(eta=""),
    "an eta that is a number": _headers(eta=5),
    "an eta at the end of time": _headers(eta="9999-12-31T23:59:59+00:00"),
    "an eta before time": _headers(eta="0001-01-01T00:00:00+14:00"),
    "an expiry that is nonsense": _headers(expires="never"),
    "an expiry that is an object": _headers(expires={"a": 1}),
    "a root that is a list": _headers(root_id=["a"]),
    "a root that is a number": _headers(root_id=7),
    "a parent that is an object": _headers(parent_id={"a": 1}),
    "a group that is a list": _headers(group=["a"], group_index="x"),
    "a name that is a number": _headers(task=7),
    "a name that is a list": _headers(task=["support.add"]),
    "a name that nobody knows": _headers(task="nobody.knows"),
    "a name of 10,000 characters": _headers(task="x" * 10_000),
    "arguments' text that is a list": _headers(kwargsrepr=[1], argsrepr={"a": 1}),
    "arguments' text that is no text": _headers(kwargsrepr=nested(300)),
    "stamps that are a number": _headers(stamped_headers=7, stamps=7),
    "headers of 300 levels": _headers(x=nested(300, "dict")),
    "no task": _headers(task=None),
}

#: What is wrong only with taskbridge's own header: such a task runs.
ODD = {
    "an owner that is a list": {"owner": ["a"]},
    "an owner that is a number": {"owner": 7},
    "an owner that is too long": {"owner": "a" * 300},
    "counts that are strings": {"total": "many", "more": "a few"},
    "counts that are huge": {"total": 2**62},
    "counts that are negative": {"total": -1, "more": -5},
    "times that are strings": {"at": "now", "expires_at": [1]},
    "a queue that is an object": {"queue": {"a": 1}},
}

#: What has no id, or none that could be a job's.
NAMELESS = {
    "no headers": {"plain": {}},
    "only other headers": {"plain": {"x": "y"}},
    "no id": {"plain": {"task": "support.add"}},
    "an id that is a list": {"plain": {"task": "support.add", "id": ["a"]}},
    "an id that is a number": {"plain": {"task": "support.add", "id": 7}},
    "an id that is empty": {"plain": {"task": "support.add", "id": ""}},
    "a name and no more": {"plain": {"task": "nobody.knows"}},
}


class Poisoner:
    """Publishes task messages past Celery and taskbridge.

    Args:
        url: of the broker.
        task: name of a task that adds two numbers.
        queue: to which it publishes.
    """

    def __init__(self, url: str, task: str = "support.add", queue: str = "celery") -> None:
        self._connection = Connection(url)
        self._channel = self._connection.channel()
        self._task, self._queue = task, queue

    def publish(self, wrong: dict[str, Any], **header: Any) -> str:
        """Publish a task message with something wrong; return its job.

        Args:
            wrong: as in ``POISONS``.
            header: what is wrong in taskbridge's own header.
        """
        job = str(uuid.uuid4())
        headers = {"id": job, "root_id": job, "task": self._task, "lang": "py"}
        headers["taskbridge"] = {"owner": "me", "at": time.time(), **header}
        headers |= wrong.get("headers", {})
        if headers["task"] is None:
            del headers["task"]
        body = wrong.get("body", [[1, 2], {}, {}])
        self._channel.basic_publish(
            self._channel.prepare_message(
                body if isinstance(body, bytes) else json.dumps(body).encode(),
                content_type=wrong.get("content_type", "application/json"),
                content_encoding=wrong.get("content_encoding", "utf-8"),
                headers=wrong.get("plain", headers),
            ),
            exchange="",
            routing_key=self._queue,
        )
        return job

    def close(self) -> None:
        """End the connection."""
        self._connection.release()
