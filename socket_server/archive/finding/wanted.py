"""``Wanted``: which jobs are searched for. Without the archive's libraries, for any server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bridge.errors import JobNotFound
from bridge.protocol.json_types import SnapshotData
from bridge.protocol.request_types import TaskNode, WebhookDelivery
from bridge.tokens import Grant

__all__ = [
    "AWAY",
    "Archive",
    "ArchiveUnavailable",
    "ArchivedLog",
    "Asked",
    "Found",
    "Wanted",
    "check_found",
]

AWAY = "the archive does not answer: try again"


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

    #: Parts of its lines.
    parts: int
    #: Order of the last event of each task.
    orders: dict[str, tuple[int, int, int]]
    #: Whether events may have been missed while the job was unfinished.
    missed: bool


class Asked(Protocol):
    """A question about one job that the archive has been asked, and has perhaps answered."""

    @property
    def is_of_ended_job(self) -> bool:
        """Whether the archive has answered, with a job that has ended."""

    def snapshot(self) -> SnapshotData | None:
        """Return the job's snapshot; None if the archive has no such job.

        Raises:
            ArchiveUnavailable: the archive has not answered; the question is withdrawn.
        """

    def withdraw(self) -> None:
        """Do not ask, unless the question is being answered: nothing waits for the answer."""


class Archive(Protocol):
    """What a server asks of the archive; each call raises ``ArchiveUnavailable`` without answer.

    Of a job that the grant does not name nothing is read, so that neither an answer nor its time
    tells whether there is one.
    """

    def find(self, wanted: Wanted, after: tuple[float, str] | None, most: int) -> list[Found]:
        """Return up to ``most`` jobs after a place, the newest first."""

    def snapshots(self, jobs: list[str]) -> dict[str, str]:
        """Return the JSON of the snapshots of those of some jobs that it has."""

    def ask(self, job: str, grant: Grant) -> Asked:
        """Ask for the snapshot of a job, and do not wait for the answer."""

    def log(self, job: str, grant: Grant) -> ArchivedLog | None:
        """Return how much of a job's log it has; None for an unknown job."""

    def lines(self, job: str, part: int, most: int) -> list[str]:
        """Return the JSON of up to ``most`` parts of a job's lines, from a part on."""

    def calls(self, jobs: list[str], grant: Grant) -> dict[str, tuple[str, str | None]]:
        """Return the JSON of the snapshot and the kept call of those of some jobs that it has."""

    def tasks(self, job: str, grant: Grant, after: str, most: int) -> list[TaskNode] | None:
        """Return up to ``most`` tasks of a job, by their ids; None for an unknown job."""

    def deliveries(self, job: str | None, most: int) -> list[WebhookDelivery]:
        """Return up to ``most`` deliveries of a job, or failing ones; only operators may ask."""


def check_found(job: str, *, held: bool, archived: bool, away: bool) -> None:
    """Check that a job was found.

    Args:
        job: id of the job.
        held: whether the server holds it, and the token names it.
        archived: whether the archive has it, and the token names it.
        away: whether the archive did not answer.

    Raises:
        JobNotFound: it was not found.
        ArchiveUnavailable: the archive might have it.
    """
    if not held and away:
        raise ArchiveUnavailable(AWAY)
    if not held and not archived:
        raise JobNotFound(f"no job {job} that this token names")
