"""``Outage``: logs an outage of the events broker, and what was lost in it."""

from __future__ import annotations

import logging

from bridge.sending.losses import Losses

__all__ = ["Outage"]

logger = logging.getLogger(__name__)

#: Words of the log for the counts of ``Losses.counts``.
WORDS = {
    "dropped": "lines",
    "dropped_pushes": "own events",
    "dropped_events": "lifecycle events",
    "dropped_ends": "ends of tasks",
}
SHORTENED = "; %d ends of tasks were shortened"


class Outage:
    """Logs the beginning of an outage, its first loss, and at its end what was lost.

    Args:
        losses: the process's counts.
    """

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._before: dict[str, int] = losses.counts()
        self._told = False

    def begin(self, reason: str) -> None:
        """Log that the broker is unreachable, and why."""
        self._before, self._told = self._losses.counts(), False
        logger.warning("taskbridge: the broker is away, events are kept: %s", reason)

    def look(self) -> None:
        """Log the first loss of the outage, once."""
        if not self._told and any(self._lost().values()):
            self._told = True
            logger.warning(
                "taskbridge: the broker is still away, and what waits to be sent takes more than "
                "TASKBRIDGE_OUTBOX_BYTES: log lines are dropped first, then own events, ends of "
                "tasks last"
            )

    def over(self) -> None:
        """Log that the broker is reachable again, and what was lost meanwhile."""
        lost = self._lost()
        parts = [f"{lost[name]} {word}" for name, word in WORDS.items() if lost[name]]
        text = ", ".join(parts) or "nothing"
        if shortened := lost["shortened_ends"]:
            text += SHORTENED % shortened
        logger.log(
            logging.WARNING if any(lost.values()) else logging.INFO,
            "taskbridge: the broker is back; dropped while it was away: %s",
            text,
        )

    def _lost(self) -> dict[str, int]:
        now = self._losses.counts()
        return {name: count - self._before[name] for name, count in now.items()}
