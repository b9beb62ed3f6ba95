"""``JobLog``: the whole log of a job, from the archive and then from what the journal holds."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive.entries import NO_ORDER, Text, entries_of, missing_before
from socket_server.archive.finding.wanted import (
    Archive,
    ArchivedLog,
    ArchiveUnavailable,
    check_found,
)
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal

__all__ = ["JobLog"]

#: Parts of the archive's lines, of about 64 KiB each, that are read at once.
PARTS = 8
AWAY = b"[taskbridge: the archive does not answer: this is what the server holds]\n"
BROKEN = b"[taskbridge: the archive does not answer any more: the rest of the log is missing]\n"
MISSED = b"[taskbridge: the archive has missed events while this job was unfinished]\n"

Order = tuple[int, int, int]


class JobLog:
    """Composes logs.

    Args:
        journal: the jobs that the server holds.
        archive: the archive; None without one.
        state_lock: the state lock, released while the archive is asked.
    """

    def __init__(self, journal: Journal, archive: Archive | None, state_lock: StateLock) -> None:
        self._journal, self._archive, self.state_lock = journal, archive, state_lock

    def pieces(self, job: str, grant: Grant) -> Iterator[bytes]:
        """Return the pieces of a job's log as text, which are read while they are sent.

        Raises:
            JobNotFound: there is no such job, or the token does not name it.
            ArchiveUnavailable: the server does not hold the job, or the token does not name it, and
                the archive does not answer.
        """
        # The archive is asked in any case, so that the time does not tell whether a job is held.
        archived, away = self._archived(job, grant)
        held = job in self._journal and grant.names(job, self._journal.owner(job))
        check_found(job, held=held, archived=archived is not None, away=away)
        return self._pieces(job, archived, away)

    def _archived(self, job: str, grant: Grant) -> tuple[ArchivedLog | None, bool]:
        if self._archive is None:
            return None, False
        try:
            return self.state_lock.outside(self._archive.log, job, grant), False
        except ArchiveUnavailable:
            return None, True

    def _pieces(self, job: str, archived: ArchivedLog | None, away: bool) -> Iterator[bytes]:
        text = Text()
        if away:
            yield AWAY
        if archived is not None:
            try:
                yield from self._from_archive(job, archived.parts, text)
            except ArchiveUnavailable:
                yield text.line(BROKEN)
                return
        with self.state_lock:
            events, newest = self._journal.texts(job), self._journal.orders(job)
        orders = dict(archived.orders) if archived else {}
        yield from _from_journal(events, orders, text)
        yield from _dropped(newest, orders, text)
        if archived is not None and archived.missed:
            yield text.line(MISSED)

    def _from_archive(self, job: str, parts: int, text: Text) -> Iterator[bytes]:
        assert self._archive is not None, "it has answered"
        for part in range(0, parts, PARTS):
            for body in self._archive.lines(job, part, min(PARTS, parts - part)):
                yield b"".join(map(text.of, json.loads(body)))


def _from_journal(events: list[str], orders: dict[str, Order], text: Text) -> Iterator[bytes]:
    """Yield the log of events as JSON, but for what the archive has.

    Args:
        events: the events.
        orders: order of the last event of each task that the archive has; kept up to date.
        text: what has turned the entries before into text.
    """
    for one in map(json.loads, events):
        event = Event.decode(one)
        before = orders.get(event.task, NO_ORDER)
        if event.order <= before:
            continue
        missing = missing_before(event, before)
        if event.type != "cancelling":
            orders[event.task] = event.order
        if piece := b"".join(map(text.of, entries_of(event, missing))):
            yield piece


def _dropped(newest: dict[str, Order], orders: dict[str, Order], text: Text) -> Iterator[bytes]:
    """Yield a line for each task whose last events neither the archive nor the journal has."""
    for task, (run, seq, _) in newest.items():
        reached = orders.get(task, NO_ORDER)
        if (run, seq) > reached[:2]:
            yield text.of([task, "missing", 0.0, seq - reached[1] if run == reached[0] else 0])
