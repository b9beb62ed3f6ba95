"""A client of server-sent events that reads them as the standard says, and connects again."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from bridge.protocol.frames import STREAMED
from support.frames import check

__all__ = ["EventStreamClient", "Told", "parsed"]


@dataclass(frozen=True)
class Told:
    """One event of a stream."""

    event: str
    #: Of the last event that had one.
    id: str
    data: Any


def parsed(lines: Iterable[str], id: str = "", note: Callable[[str], Any] = str) -> Iterator[Told]:
    """Yield the events of a stream; the id of one without data is noted alone.

    Args:
        lines: of the stream, without their ends.
        id: of the last event of the stream before.
        note: called with each new id.
    """
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            continue
        if line:
            fields[name] = value
            continue
        if "id" in fields:
            note(id := fields["id"])
        if "data" in fields:
            told = Told(fields.get("event", "message"), id, json.loads(fields["data"]))
            check(STREAMED[told.event].__name__, told.data)
            yield told
        fields = {}


@dataclass
class EventStreamClient:
    """A client that reads all streams of a job, one after the other, as ``EventSource`` does."""

    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    #: Of the last event that had one.
    id: str = ""
    #: Status of each answer.
    statuses: list[int] = field(default_factory=list)
    #: Why the last stream ended before its answer did; None if it did not.
    flaw: Exception | None = None
    #: Whether ``in_background`` has read to the end.
    over: bool = False

    def once(self) -> Iterator[Told]:
        """Yield the events of one stream until it ends or is cut."""
        headers = {**self.headers, **({"Last-Event-ID": self.id} if self.id else {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.flaw = None
        with closing(connection):
            try:
                connection.request("GET", self.path, headers=headers)
                with connection.getresponse() as answer:
                    self.statuses.append(answer.status)
                    if answer.status == 200:
                        lines = (line.decode().rstrip("\n") for line in answer)
                        yield from parsed(lines, self.id, self._note)
            except (http.client.HTTPException, OSError) as error:
                self.flaw = error

    def _note(self, id: str) -> None:
        self.id = id

    def __iter__(self) -> Iterator[Told]:
        """Yield the events of stream after stream until an answer is not one."""
        while not self.statuses or self.statuses[-1] == 200:
            yield from self.once()

    def in_background(self) -> list[Told]:
        """Read one stream in a thread; return the list of its events, which grows."""
        told: list[Told] = []

        def read() -> None:
            told.extend(self.once())
            self.over = True

        threading.Thread(target=read, daemon=True).start()
        return told
