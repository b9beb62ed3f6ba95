"""A job far from its server: workers reach the broker of events through a link, which tests cut.

The server, and the broker of tasks, are reached directly.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bridge.client.socket_client import SocketClient
from bridge.client.watcher import Watcher
from support.link import Link
from support.rabbitmq import RabbitMQ
from support.stack import Stack
from support.wait import until

__all__ = ["Distance", "Seen"]


def difference(seen: Iterable[Any], expected: Iterable[Any]) -> str:
    """Return what came too seldom, and too often."""
    seen, expected = Counter(seen), Counter(expected)
    return f"missing: {list(expected - seen)}; too often: {list(seen - expected)}"


class Distance:
    """A stack on one node: tasks and events have virtual hosts of their own.

    Args:
        node: RabbitMQ.
        folder: of the stack.
        variables: of its environment.
    """

    def __init__(self, node: RabbitMQ, folder: Path, **variables: str) -> None:
        tasks, self._events = node.new_vhost(), node.new_vhost()
        variables = {"TASKBRIDGE_EVENTS_URL": self._events, **variables}
        self.stack = Stack(folder, tasks, **variables)
        self.link = Link(node.port)
        self.server = self.stack.start_server()
        self._seen: list[Seen] = []

    def start_worker(self, *arguments: str) -> Any:
        """Start a worker whose events go through the link."""
        through = self._events.rpartition(":")[0] + f":{self.link.port}/"
        through += self._events.rpartition("/")[2]
        return self.stack.start_worker(*arguments, TASKBRIDGE_EVENTS_URL=through)

    def watch(self) -> Seen:
        """Enqueue a job that logs and pushes until it is checked, and watch it."""
        self._seen.append(Seen(self.stack, self.stack.home / f"over-{len(self._seen)}"))
        return self._seen[-1]

    def stop(self) -> None:
        """End everything."""
        for one in self._seen:
            one.close()
        self.link.close()
        self.stack.stop()


class Seen:
    """What a client is told of one job: events by ``bridge.watch``, pushes by a plain client."""

    def __init__(self, stack: Stack, file: Path) -> None:
        self._file = file
        self.id = stack.bridge.enqueue("support.announces", [str(file)], owner="me").id
        self.pushes: list[int] = []
        self._client = SocketClient()
        self._client.on("notice", self.pushes.append, namespace="/jobs")
        auth = {"token": stack.token(jobs=[self.id])}
        options = {"namespaces": ["/jobs"], "transports": ["websocket"], "wait_timeout": 20}
        self._client.connect(stack.url, auth=auth, **options)
        assert self._client.call("watch", {"job": self.id}, namespace="/jobs")["ok"]
        self.watcher: Watcher = stack.bridge.watch(self.id, timeout=60)
        self.events: list[dict[str, Any]] = []
        self.over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for event in self.watcher:
            self.events.append(event)
        self.over = True

    @property
    def lines(self) -> list[str]:
        """Lines of the job's log, as they came."""
        return [line["message"] for e in self.events for line in e["data"].get("lines", [])]

    @property
    def types(self) -> list[str]:
        """Types of events, but for progress."""
        return [event["type"] for event in self.events if event["type"] != "progress"]

    def speaks(self) -> bool:
        """Whether lines and pushes have come."""
        return len(self.lines) > 10 and len(self.pushes) > 10

    def until_disturbed(self, timeout: float, *, over: bool = False) -> None:
        """Wait until clients are told that the way is disturbed, or that it is not any more."""
        until(
            lambda: (
                self.watcher.snapshot.disturbed is None if over else self.watcher.snapshot.disturbed
            ),
            timeout,
            "word of the disturbance",
        )

    def check(self, timeout: float = 60.0) -> None:
        """End the job when it has spoken again, and assert that it ended once, well.

        Each line and push has to come exactly once.
        """
        count = len(self.lines) + 10
        until(lambda: len(self.lines) > count, timeout, "the job to speak again")
        self._file.touch()
        until(lambda: self.over, timeout, "the end of the watch")
        encoded = self.watcher.snapshot.encode()
        assert encoded["state"] == "succeeded", (encoded, self.types)
        assert "lost" not in self.types
        assert self.types.count("succeeded") == 1
        assert self.watcher.recovered
        assert not encoded["incomplete"]
        assert encoded["disturbed"] is None
        count = encoded["result"]
        expected = [f"line {number}" for number in range(count)]
        assert self.lines == expected, difference(self.lines, expected)
        until(lambda: self.pushes[-1] == count - 1, 30, "the last push")
        first = self.pushes[0]  # what is pushed before anybody watches reaches nobody
        assert self.pushes == list(range(first, count)), difference(
            self.pushes, range(first, count)
        )

    def close(self) -> None:
        """Watch no longer."""
        self.watcher.close()
        self._client.disconnect()
