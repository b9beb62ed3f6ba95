"""``Wanted``: which jobs are searched for. Without the archive's libraries, for any server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ["Archive", "ArchiveUnavailable", "ArchivedLog", "Found", "Wanted"]


class ArchiveUnavailable(Exception):
    """The archive does not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are searched for.

    Args:
        owner: owner of the jobs; None for all owners, which only an operator may ask for.
        state: state of the jobs; None for any.
        name: name of the jobs' own task; None for any.
        words: words of which all occur in what a job is called, raised, set as meta, or logged.
        since: earliest time at which they were enqueued, in seconds since the epoch; None for any.
        until: time before which they were enqueued; None for any.
    """

    owner: str | None = None
    state: str | None = None
    name: str | None = None
    words: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None


class Found(NamedTuple):
    """A job that was found: its place in lists, and how long the JSON of its snapshot is."""

    at: float
    job: str
    size: int


class ArchivedLog(NamedTuple):
    """How much of a job's log the archive has, at one moment."""

    owner: str | None
    #: Parts of its lines.
    parts: int
    #: Order of the last event of each task.
    orders: dict[str, tuple[int, int, int]]
    #: Whether events may have been missed while the job was unfinished.
    missed: bool


class Archive(Protocol):
    """What a server asks of the archive; each call raises ``ArchiveUnavailable`` without answer."""

    def find(self, wanted: Wanted, after: tuple[float, str] | None, most: int) -> list[Found]:
        """Return up to ``most`` jobs after a place, the newest first."""

    def snapshots(self, jobs: list[str]) -> dict[str, str]:
        """Return the JSON of the snapshots of those of some jobs that it has."""

    def log(self, job: str) -> ArchivedLog | None:
        """Return how much of a job's log it has; None for an unknown job."""

    def lines(self, job: str, part: int, most: int) -> list[str]:
        """Return the JSON of up to ``most`` parts of a job's lines, from a part on."""

    def calls(self, jobs: list[str]) -> dict[str, tuple[str, str | None]]:
        """Return the JSON of the snapshot and the kept call of those of some jobs that it has."""
