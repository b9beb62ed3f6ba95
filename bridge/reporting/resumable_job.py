"""``job``: a task's handle on its own job, with checkpoints, from which a next attempt goes on."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from bridge.reporting import current_job
from bridge.reporting.progress import progress

__all__ = ["ResumableJob", "job"]

T = TypeVar("T")

#: Name of the number of rows that are done, in the state that :meth:`ResumableJob.resume` stores.
DONE = "done"


class ResumableJob(current_job.CurrentJob):
    """The job that the calling code runs in. Outside a job every call does nothing."""

    def checkpoint(self, state: object, *, durable: bool = False) -> bool:
        """Store a state from which the next attempt of the task goes on, as its ``job.restored``.

        The newest state replaces the one before. A background thread stores it, within a tenth of
        a second if the store is quick, so that the call takes a microsecond. The state is encoded
        at once: it may be changed afterwards.

        Args:
            state: JSON of at most 64 KiB. Any other state is not stored; the job goes on, and its
                log has one warning.
            durable: whether to wait until it is stored, for 2 seconds at most; default False.

        Returns:
            With ``durable``, whether the state is stored. Without, False.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if place := current_job.here():
            run = place[0]
            if run.cancelled:
                run.check()
            if (checkpoints := run.checkpoints) is not None:
                if durable:
                    return checkpoints.put_durably(state)
                checkpoints.put(state)
        return False

    @property
    def restored(self) -> Any:
        """State that an earlier attempt of the task has stored; None for a first attempt.

        The first look at it in a later attempt asks the store, and waits for 10 seconds at most; if
        the store does not answer, it is None, and the job's log has a warning.
        """
        place = current_job.here()
        if place is None or (checkpoints := place[0].checkpoints) is None:
            return None
        saved = checkpoints.restored()
        return None if saved is None else saved.state

    def resume(self, rows: Iterable[T], every: int = 1, **bar: Any) -> Iterator[T]:
        """Return an iterator over the rows that no earlier attempt has done, with a bar of all.

        A row is done when the next one is asked for. The rows must come in the same order in each
        attempt. The number of rows done is the job's checkpoint: do not call ``checkpoint`` beside
        it. A row may be done twice, and none is left out.

        Args:
            rows: all rows; those that are done are read, and skipped.
            every: rows between two checkpoints; default 1.
            bar: options of :class:`progress`, such as ``desc``.

        Raises:
            ValueError: ``every`` is less than 1.
            JobCancelled: (while iterating, too) the job was cancelled.
        """
        if operator.index(every) < 1:
            raise ValueError(f"every={every} must be 1 or more: it counts rows")
        done = _done(self.restored)
        total = operator.length_hint(rows, -1)
        options = {"total": None if total < 0 else total, **bar, "initial": done}
        return self._each(progress(islice(rows, done, None), **options), done, every)

    def _each(self, rows: Iterable[T], done: int, every: int) -> Iterator[T]:
        for count, row in enumerate(rows, done + 1):
            yield row
            if count % every == 0:
                self.checkpoint({DONE: count})


def _done(state: object) -> int:
    """Return the number of rows done, from what :meth:`ResumableJob.resume` has stored."""
    done = state.get(DONE) if isinstance(state, dict) else None
    return done if type(done) is int and done >= 0 else 0


#: The job that the calling code runs in.
job = ResumableJob()
