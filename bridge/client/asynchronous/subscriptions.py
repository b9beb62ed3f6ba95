"""``Subscriptions``: the watches of one connection, by job."""

from __future__ import annotations

import json
from collections.abc import Iterator, KeysView

from bridge.client.asynchronous.subscription import Subscription

__all__ = ["Subscriptions"]

#: Most jobs of one connection, and most bytes of their ids as JSON. The token names each of them,
#: and a server takes 20 requests a second from a connection: after a cut, a hundred jobs are
#: watched again within seconds.
MAX_JOBS, MAX_BYTES = 100, 16 * 1024


class Subscriptions:
    """The subscriptions of a connection.

    Args:
        most: maximum jobs that a server lets a connection watch.
    """

    def __init__(self, most: int) -> None:
        self._most = min(most, MAX_JOBS)
        self._of_jobs: dict[str, set[Subscription]] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[Subscription]:
        return iter([one for several in self._of_jobs.values() for one in several])

    @property
    def jobs(self) -> KeysView[str]:
        """Ids of the jobs."""
        return self._of_jobs.keys()

    def of(self, job: object) -> list[Subscription]:
        """Return the subscriptions of a job."""
        return list(self._of_jobs.get(job, ())) if isinstance(job, str) else []

    def takes(self, job: str) -> bool:
        """Whether there is room for a job."""
        if job in self._of_jobs:
            return True
        return len(self._of_jobs) < self._most and self._bytes + _size(job) <= MAX_BYTES

    def add(self, subscription: Subscription) -> None:
        """Add a subscription, whether there is room or not."""
        if subscription.job not in self._of_jobs:
            self._of_jobs[subscription.job] = set()
            self._bytes += _size(subscription.job)
        self._of_jobs[subscription.job].add(subscription)

    def discard(self, subscription: Subscription) -> bool:
        """Remove a subscription; return whether it was there."""
        ours = self._of_jobs.get(subscription.job, set())
        if subscription not in ours:
            return False
        ours.remove(subscription)
        if not ours:
            del self._of_jobs[subscription.job]
            self._bytes -= _size(subscription.job)
        return True


def _size(job: str) -> int:
    """Return how many bytes a job's id takes in a token's list."""
    return len(json.dumps(job)) + len(",")
