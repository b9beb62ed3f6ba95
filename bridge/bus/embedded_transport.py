"""The embedded broker: kombu's ``filesystem`` transport with its races fixed.

For one machine and for trials, not for production: a message is removed when it is read, and
readers poll. The differences from kombu's transport: a message appears under its final name only
when it is complete; the reader that unlinks it gets it, so two readers never share one and none
waits for a lock; names sort in the order of publishing; every binding is a file of its own, and
those of dead processes are removed.

The URL is ``embedded://localhost/absolute/folder``.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from urllib.parse import quote

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual

from bridge.home import private_folder
from bridge.protocol.json_types import JSONObject
from bridge.untyped import KombuConnection

__all__ = ["SCHEME", "Channel", "Transport", "register"]

SCHEME = "embedded"
#: Seconds between two reads of an empty queue: a compromise of latency and idle CPU.
POLLING_INTERVAL = 0.05
#: Seconds between two checks whether the worker is stopping.
SLICE = 0.25


def register() -> None:
    """Make kombu (and so Celery and Flower) know ``embedded://`` URLs."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"


class Channel(filesystem.Channel):
    """A channel whose queues and bindings are folders and files."""

    def __init__(self, connection: Transport, **kwargs: object) -> None:
        super().__init__(connection, **kwargs)
        self._root = Path("/", connection.client.virtual_host or "")
        self._listed: dict[str, deque[Path]] = {}

    def _folder(self, queue: str) -> Path:
        return self._root / "queues" / quote(queue, safe="")

    def _bindings(self, exchange: str) -> Path:
        return self._root / "bindings" / quote(exchange, safe="")

    def _new_queue(self, queue: str, **options: object) -> None:
        folder = self._folder(queue)
        private_folder(folder)
        if not options.get("durable", True):
            _write(folder / "owner", str(os.getpid()))

    def _has_queue(self, queue: str, **_: object) -> bool:
        return self._folder(queue).is_dir()

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = [routing_key or "", pattern or "", queue]
        folder = self._bindings(exchange)
        private_folder(folder)
        name = f"{_prefix(queue)}{quote(binding[0], safe='')}"
        _write(folder / name, json.dumps(binding))

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        """Return the bindings of an exchange; remove those whose process died."""
        return list(self._live_bindings(exchange))

    def _live_bindings(self, exchange: str) -> Iterator[filesystem.exchange_queue_t]:
        for file in _files(self._bindings(exchange)):
            try:
                binding = filesystem.exchange_queue_t(*json.loads(file.read_text()))
            except FileNotFoundError:
                continue
            if _orphaned(self._folder(binding.queue)):
                file.unlink(missing_ok=True)
                shutil.rmtree(self._folder(binding.queue), ignore_errors=True)
            else:
                yield binding

    def _put(self, queue: str, payload: JSONObject, **_: object) -> None:
        folder = self._folder(queue)
        text = json.dumps(payload)
        try:
            _write_next(folder, text)
        except FileNotFoundError:
            private_folder(folder)
            _write_next(folder, text)

    def _get(self, queue: str) -> JSONObject:
        listed = self._listed.get(queue)
        if not listed:
            listed = self._listed[queue] = deque(_messages(self._folder(queue)))
        while listed:
            file = listed.popleft()
            try:
                text = file.read_text()
                file.unlink()
            except FileNotFoundError:
                continue  # another reader was faster
            message: JSONObject = json.loads(text)
            return message
        raise Empty

    def _size(self, queue: str) -> int:
        return len(_messages(self._folder(queue)))

    def _purge(self, queue: str) -> int:
        self._listed.pop(queue, None)
        messages = _messages(self._folder(queue))
        for file in messages:
            file.unlink(missing_ok=True)
        return len(messages)

    def _delete(self, queue: str, exchange: str, *_: object, **__: object) -> None:
        for file in _files(self._bindings(exchange)):
            if file.name.startswith(_prefix(queue)):
                file.unlink(missing_ok=True)
        shutil.rmtree(self._folder(queue), ignore_errors=True)


class Transport(filesystem.Transport):
    """kombu transport of the embedded broker."""

    Channel = Channel
    polling_interval = POLLING_INTERVAL
    driver_type = SCHEME
    driver_name = SCHEME

    def __init__(self, client: KombuConnection, **kwargs: object) -> None:
        super().__init__(client, **kwargs)
        # Bindings are on disk. With kombu's state, shared by all connections of a process, the
        # queues of a second broker folder in the same process would count as bound already.
        self.state = virtual.BrokerState()

    def drain_events(self, connection: Transport, timeout: float | None = None) -> None:
        """Wait for an event; if the worker is stopping, ``SLICE`` seconds at most.

        Celery's loop waits two seconds at a time, and twice more after it was asked to stop.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                super().drain_events(
                    connection, timeout=SLICE if timeout is None else min(SLICE, timeout)
                )
            except TimeoutError:
                if _stopping() or (deadline is not None and time.monotonic() >= deadline):
                    raise
            else:
                return


def _stopping() -> bool:
    """Whether this process is a Celery worker that was asked to stop."""
    state = sys.modules.get("celery.worker.state")
    told = (getattr(state, name, None) for name in ("should_stop", "should_terminate"))
    return any(value is not None and value is not False for value in told)


def _prefix(queue: str) -> str:
    """Return the beginning of the names of a queue's bindings, which no other queue's have."""
    return f"{quote(queue, safe='')} "


def _files(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if not _is_part(file)]
    except FileNotFoundError:
        return []


def _messages(folder: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".msg"))  # noqa: PTH208
    except FileNotFoundError:
        return []
    return [folder / name for name in names]


def _orphaned(folder: Path) -> bool:
    """Whether the queue belongs to a process that is gone."""
    try:
        os.kill(int((folder / "owner").read_text()), 0)
    except ProcessLookupError:
        return True
    except (FileNotFoundError, PermissionError, ValueError):
        return False
    return False


_last = 0
#: Makes names unique among threads; a lock instead could stay locked for ever after a fork.
_count = itertools.count()


def _next_name() -> str:
    """Return a unique file name that sorts after all earlier names of this thread."""
    global _last
    _last = stamp = max(_last + 1, time.time_ns())
    return f"{stamp:020d}-{os.getpid()}-{next(_count)}.msg"


def _part(folder: Path) -> Path:
    """Return the name of a file that is not complete yet."""
    return folder / f".{os.getpid()}-{next(_count)}.part"


def _is_part(file: Path) -> bool:
    return file.name.startswith(".") and file.name.endswith(".part")


def _write(file: Path, text: str) -> None:
    part = _part(file.parent)
    part.write_text(text)
    part.rename(file)


def _write_next(folder: Path, text: str) -> None:
    part = _part(folder)
    part.write_text(text)
    part.rename(folder / _next_name())
