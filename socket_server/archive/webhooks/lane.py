"""``Lane``: the deliveries to one endpoint, and what the end of an attempt means for them."""

from __future__ import annotations

import logging
from typing import NamedTuple

from socket_server.archive.webhooks.attempt import Answer
from socket_server.archive.webhooks.deliveries import Delivery, Result
from socket_server.archive.webhooks.endpoint import Endpoint
from socket_server.archive.webhooks.figures import EndpointFigures
from socket_server.archive.webhooks.schedule import next_attempt, seconds_to_wait

__all__ = ["AT_ONCE", "GONE", "Attempt", "Lane"]

logger = logging.getLogger(__name__)

#: Attempts at a time to one endpoint.
AT_ONCE = 4
#: Longest time for which an endpoint that asks for it, by ``Retry-After``, is left alone.
MAX_PAUSE = 3600.0
GONE = "it answered 410 (gone): nothing is delivered to it until the archive is restarted"
GIVEN_UP = "taskbridge: delivery %s of job %s to the webhook %s is given up, after %d attempts: %s"


class Attempt(NamedTuple):
    """An attempt that has ended."""

    delivery: Delivery
    #: The answer; None if none came.
    answer: Answer | None
    #: Why none came.
    failure: str = ""


class Lane:
    """The deliveries to one endpoint. One thread uses it.

    Args:
        endpoint: the endpoint; None for all webhooks that the settings do not name.
        figures: figures, which are kept up to date.
    """

    def __init__(self, endpoint: Endpoint | None, figures: EndpointFigures) -> None:
        self.endpoint, self.figures = endpoint, figures
        #: Ids of deliveries that are being attempted, or whose result is not written yet.
        self.busy: set[str] = set()
        #: When the next attempt may begin, in seconds since the epoch.
        self.not_before = 0.0

    def is_open(self, now: float) -> bool:
        """Whether another attempt may begin."""
        return len(self.busy) < AT_ONCE and now >= self.not_before and not self.figures.gone

    def judge(self, ended: Attempt, now: float) -> Result:
        """Return what an attempt has changed.

        Args:
            ended: the attempt.
            now: seconds since the epoch.
        """
        delivery, answer = ended.delivery, ended.answer
        if answer is None:
            return self.put_off(delivery, ended.failure, now)
        if not 200 <= answer.status < 300:
            return self._refused(delivery, answer, now)
        self._note(None, delivery.webhook)
        self.figures.delivered += 1
        return Result(delivery.id, delivery.attempts + 1, None, None, now)

    def _refused(self, delivery: Delivery, answer: Answer, now: float) -> Result:
        wait, reason = 0.0, f"it answered {answer.status}"
        if answer.status in (429, 503):
            wait = seconds_to_wait(answer.retry_after, now)
            self.not_before = max(self.not_before, now + min(wait, MAX_PAUSE))
        elif answer.status == 410:
            self.figures.gone, reason = True, GONE
        elif 300 <= answer.status < 400:
            reason += ", and redirects are not followed"
        return self.put_off(delivery, reason, now, wait)

    def put_off(self, delivery: Delivery, reason: str, now: float, wait: float = 0.0) -> Result:
        """Return that a delivery has failed, and is attempted again, or given up.

        Args:
            delivery: the delivery.
            reason: why it has failed.
            now: seconds since the epoch.
            wait: minimum seconds to the next attempt; default 0.
        """
        attempts = delivery.attempts + 1
        self.figures.failed += 1
        self._note(reason, delivery.webhook)
        due = next_attempt(delivery.at, attempts, now, wait)
        if due is None:
            self.figures.given_up += 1
            logger.error(GIVEN_UP, delivery.id, delivery.job, delivery.webhook, attempts, reason)
        return Result(delivery.id, attempts, reason, due, None)

    def _note(self, failure: str | None, name: str) -> None:
        """Note whether the endpoint takes deliveries, and log it when that changes."""
        before, self.figures.failure = self.figures.failure, failure
        if failure is not None and failure != before:
            logger.warning("taskbridge: the webhook %s fails: %s", name, failure)
        elif failure is None and before is not None:
            logger.info("taskbridge: the webhook %s takes deliveries again", name)
