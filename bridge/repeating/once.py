"""``Once``: publishes the job of an idempotency key once, however many callers ask for it.

What it promises: calls with one key get one id, and the job is published if one of them returns. It
is published twice, under the same id, only where a process dies after the broker has taken the job
and before that is marked, and the job is not known to have run when the next call comes.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from bridge.checkpoints.of_task import store_application
from bridge.errors import BrokerUnavailable, EnqueueError, ResultsUnavailable, TaskbridgeError
from bridge.repeating.reservation import Reservation, ReservationStore
from bridge.repeating.stores import reservations_in
from bridge.results.bounded_calls import SILENT, BoundedCalls, bounded_calls_for
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = ["OTHER", "Asked", "Once"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after which a publisher that has not marked its job counts as dead: more than the longest
#: publish takes; and the same by the clocks of two hosts, which may differ a little.
DEAD, DEAD_BY_CLOCK = 15.0, 20.0
#: Seconds that a call waits for another one that publishes the same job: by default longer than
#: until that one counts as dead.
PATIENCE = 20.0
#: Seconds between two looks.
LOOK = 0.05

NO_STORE = (
    "an idempotency key needs a store: let TASKBRIDGE_RESULT_URL or TASKBRIDGE_CHECKPOINT_URL name "
    "a Redis or a database"
)
OTHER = "the idempotency key was used for something else, or other arguments: choose another key"
BUSY = "another process is publishing the job of this key: ask again with the same key"


class Asked(NamedTuple):
    """A job that is asked for with a key."""

    #: Key of the reservation; see ``reservation.key_of``.
    key: str
    #: Id that the job gets if the key has none yet.
    job: str
    #: Hash of the task and its arguments.
    digest: str


class Once:
    """Publishes jobs once for each key.

    Args:
        store: returns the store, on the thread that calls it; None if there can be none.
        calls: thread that calls the store, with a bound on every wait.
        patience: seconds to wait for another call that publishes the same job; default 20.
    """

    def __init__(
        self,
        store: Callable[[], ReservationStore | None],
        calls: BoundedCalls,
        patience: float = PATIENCE,
    ) -> None:
        self._store, self._calls, self._patience = store, calls, patience

    @classmethod
    def of(cls, app: CeleryApp, settings: Settings, patience: float = PATIENCE) -> Once:
        """Return one that reserves keys where an application's checkpoints are stored."""
        target = store_application(app, settings)
        retention = settings.idempotency_retention
        calls = bounded_calls_for(target, "reservations")
        # The backend is of the thread that calls.
        return cls(lambda: reservations_in(target.backend, retention), calls, patience)

    def job(
        self,
        asked: Asked,
        publish: Callable[[str], None],
        known: Callable[[str], bool] = lambda job: False,
    ) -> str:
        """Return the id of a key's job, which is published by now.

        Args:
            asked: the job.
            publish: publishes the job under the id that it gets.
            known: returns whether a job is known to be published; called where the publisher may
                have died. Default not.

        Raises:
            EnqueueError: the key was used for another call, or there is no store.
            ResultsUnavailable: the store does not answer; nothing was published.
            BrokerUnavailable: another call does not end, or as ``publish`` raises.
        """
        mine = Reservation(asked.job, asked.digest, uuid.uuid4().hex, False, time.time())
        found = self.reserve(asked.key, mine)
        if found.digest != asked.digest:
            raise EnqueueError(OTHER)
        if found.claim == mine.claim or self._take_over(asked.key, found, mine.claim, known):
            self._publish(asked.key, found.job, mine.claim, publish)
        return found.job

    def reserve(self, key: str, new: Reservation) -> Reservation:
        """Store a reservation, unless there is one; return the one that is stored.

        Raises:
            EnqueueError: there is no store.
            ResultsUnavailable: the store does not answer.
        """
        return self._ask(lambda store: store.reserve(key, new))

    def find(self, key: str) -> Reservation | None:
        """Return the reservation of a key; None without one. It raises as :meth:`reserve` does."""
        return self._ask(lambda store: store.find(key))

    def _take_over(
        self, key: str, found: Reservation, claim: str, known: Callable[[str], bool]
    ) -> bool:
        """Wait until another call has published the job; return True to publish it in its place."""
        began = time.monotonic()
        first = found.claim
        while not found.published:
            waited = time.monotonic() - began
            if known(found.job):
                self._mark(key, found.job)
                return False
            late = found.claim == first and (
                waited >= DEAD or time.time() - found.at >= DEAD_BY_CLOCK
            )
            if (late or not found.claim) and self._claim(key, found.claim, claim):
                return True
            if waited >= self._patience:
                raise BrokerUnavailable(BUSY)
            time.sleep(LOOK)
            found = self.find(key) or found
        return False

    def _claim(self, key: str, before: str, after: str) -> bool:
        return self._ask(lambda store: store.claim(key, before, after, time.time()))

    def _publish(self, key: str, job: str, claim: str, publish: Callable[[str], None]) -> None:
        try:
            publish(job)
        except BaseException:
            # The next call need not wait until this one counts as dead.
            self._offer(lambda store: store.claim(key, claim, "", time.time()))
            raise
        self._mark(key, job)

    def _mark(self, key: str, job: str) -> None:
        """Mark the job as published; a store that is away does so once it is back."""
        self._offer(lambda store: store.mark(key, job))

    def _offer(self, call: Callable[[ReservationStore], object]) -> None:
        try:
            self._calls.begin(self._with_store, call).wait()
        except Exception as error:  # noqa: BLE001 - whatever a store raises; the job is published
            logger.warning("taskbridge: an idempotency key could not be marked: %s", error)

    def _ask(self, call: Callable[[ReservationStore], T]) -> T:
        try:
            return self._calls.ask(self._with_store, call)
        except TaskbridgeError:
            raise
        except Exception as error:
            logger.warning("taskbridge: an idempotency key could not be reserved: %s", error)
            raise ResultsUnavailable(SILENT) from error

    def _with_store(self, call: Callable[[ReservationStore], T]) -> T:
        if (store := self._store()) is None:
            raise EnqueueError(NO_STORE)
        return call(store)
