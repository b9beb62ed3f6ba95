"""``JobSearch``: finds jobs in the journal and in the archive, as one list, the newest first."""

from __future__ import annotations

from bridge.protocol.json_types import JSONObject
from bridge.protocol.request_types import JobCounts
from bridge.protocol.snapshot import Snapshot
from socket_server.archive.finding.wanted import Archive, ArchiveUnavailable, Found, Wanted
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.journal.page import (
    LOOK,
    MAX_NEXT,
    MAX_PAGE,
    Page,
    Place,
    decode_next,
    encode_next,
)
from socket_server.messages.answer import Encoded
from socket_server.messages.requests import Refused, text, whole
from socket_server.watching.held_words import HeldWords

__all__ = ["JobSearch", "answer_of"]

#: Most jobs in one answer, and those of an answer that says no number.
MAX_LISTED, LISTED = 200, 50

#: Jobs that the archive is asked for at once, beside the page and the jobs that are held; most of
#: those; and how often it is asked at most for one page.
AT_ONCE, MAX_HELD, ROUNDS = 50, 1_000, 20

#: A job's place, and the length of its snapshot in the archive; 0 for a job that is held.
Listed = tuple[Place, int]


class JobSearch:
    """Finds jobs.

    Args:
        journal: the jobs that the server holds.
        archive: the archive; None without one.
        state_lock: the state lock, released while the archive is asked.
        pace: lets expensive requests work one by one.
    """

    def __init__(
        self, journal: Journal, archive: Archive | None, state_lock: StateLock, pace: Pace
    ) -> None:
        self._journal, self._archive = journal, archive
        self.state_lock, self.pace = state_lock, pace

    def counts(self, wanted: Wanted) -> JobCounts | None:
        """Return the numbers of an owner's jobs that are held; None for all owners."""
        return None if wanted.owner is None else self._journal.counts(wanted.owner)

    def page(self, wanted: Wanted, request: JSONObject) -> Page:
        """Return a page of jobs, as many as are asked for and fit into ``MAX_PAGE`` bytes.

        Args:
            wanted: which jobs.
            request: has ``limit`` and ``next``, the position in the answer before.

        Raises:
            Refused: ``limit`` or ``next`` is wrong.
        """
        limit = whole(request, "limit", default=LISTED, most=MAX_LISTED)
        after, cost = _place(text(request, "next", required=False, most=MAX_NEXT)), 0
        self.state_lock.outside(self.pace.wait)
        for _ in range(ROUNDS):
            held = len(self._journal.of_owner(wanted.owner))
            most = limit + AT_ONCE + min(held, MAX_HELD)
            found = self._archived(wanted, after, most)
            # Behind the last job that the archive has found, there may be others.
            horizon = (found[-1].at, found[-1].job) if found and len(found) == most else None
            listed, read = self._listed(wanted, after, found, horizon)
            cost += LOOK * (held + len(found or ())) + read
            if listed or horizon is None:
                break
            after = horizon
        away = found is None and self._archive is not None
        return self._filled(listed, limit, horizon, cost, away)

    def _archived(self, wanted: Wanted, after: Place | None, most: int) -> list[Found] | None:
        """Return what the archive finds; None without an archive, or without an answer."""
        if self._archive is None:
            return None
        try:
            return self.state_lock.outside(self._archive.find, wanted, after, most)
        except ArchiveUnavailable:
            return None

    def _listed(
        self,
        wanted: Wanted,
        after: Place | None,
        found: list[Found] | None,
        horizon: Place | None,
    ) -> tuple[list[Listed], int]:
        """Return the jobs after a place and up to the horizon, the newest first, and the cost.

        A job that the journal holds is in the list by what the journal has of it, at one place.
        Other clients are served meanwhile, so that jobs may go; those that are left are returned.
        """
        named = {one.job for one in found or ()}
        known = set(filter(self._holds, named))
        places: list[Place] = []
        with self.pace.sliced(lambda: self.state_lock.outside(self.pace.wait)) as step:
            words = HeldWords(self._journal, wanted.words, step)
            for snapshot in self._journal.of_owner(wanted.owner):
                step()
                place = snapshot.queued_at or snapshot.at, snapshot.job
                if (after is not None and place >= after) or (horizon and place < horizon):
                    continue
                if _fits(snapshot, wanted, place[0]) and (
                    snapshot.job in named or words.are_in(snapshot)
                ):
                    places.append(place)
        # From here on no greenlet switches.
        listed = [(place, 0) for place in places if self._holds(place[1])]
        for one in found or ():
            if not (one.job in known and self._holds(one.job)):
                listed.append(((one.at, one.job), one.size))
        return sorted(listed, reverse=True), words.cost

    def _holds(self, job: str) -> bool:
        return job in self._journal

    def _filled(
        self, listed: list[Listed], limit: int, horizon: Place | None, cost: int, away: bool
    ) -> Page:
        chosen: list[Listed] = []
        left = MAX_PAGE
        for place, size in listed[:limit]:
            left -= 1 + (size or len(self._journal.text(place[1])))
            if chosen and left < 0:
                break
            chosen.append((place, size))
        following = chosen[-1][0] if len(chosen) < len(listed) else horizon
        texts, lost = self._texts([(job, size > 0) for (_, job), size in chosen])
        next = None if following is None else encode_next(following)
        return Page(texts, next, cost, away or lost)

    def _texts(self, jobs: list[tuple[str, bool]]) -> tuple[list[Encoded], bool]:
        """Return the JSON of jobs, and whether the archive did not answer for those that it has."""
        archived: dict[str, str] = {}
        lost = False
        if wanted := [job for job, only_archived in jobs if only_archived]:
            assert self._archive is not None, "only the archive knows sizes"
            try:
                archived = self.state_lock.outside(self._archive.snapshots, wanted)
            except ArchiveUnavailable:
                lost = True
        # From here on no greenlet switches: what is held is the newest.
        held = {job: self._journal.text(job) for job, _ in jobs if self._holds(job)}
        texts = {**{job: Encoded(one) for job, one in archived.items()}, **held}
        return [texts[job] for job, _ in jobs if job in texts], lost


def answer_of(page: Page, counts: JobCounts | None) -> JSONObject:
    """Return the fields of the answer with a page; those that say nothing are left out."""
    told = {"counts": counts, "next": page.next, "archive_away": page.archive_away or None}
    return {"jobs": page.jobs, **{name: one for name, one in told.items() if one is not None}}


def _fits(snapshot: Snapshot, wanted: Wanted, at: float) -> bool:
    return (
        (wanted.state is None or snapshot.state == wanted.state)
        and (wanted.name is None or snapshot.name == wanted.name)
        and (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
    )


def _place(after: str) -> Place | None:
    if not after:
        return None
    try:
        return decode_next(after)
    except ValueError:
        raise Refused("bad_request", "next must be what the page before came with") from None
