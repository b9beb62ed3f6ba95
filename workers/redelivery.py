"""A task that the broker delivers again runs once, as long as its first worker lives.

A late acknowledgement cannot be sent over a connection that was lost meanwhile, so the broker
delivers the message once more when the worker comes back. Celery would run it again beside the
first run, or after it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from celery import states
from celery.worker import state
from celery.worker.request import Request

__all__ = ["OnceHere"]

#: Finished executions that a worker remembers.
REMEMBERED = 10_000

_finished: OrderedDict[tuple[str, int], None] = OrderedDict()


class OnceHere(Request):
    """A request that leaves a redelivered message to the run of this worker that it belongs to."""

    def acknowledge(self) -> None:
        """Acknowledge the message, and remember that the execution is over."""
        _finished[self._execution] = None
        if len(_finished) > REMEMBERED:
            _finished.popitem(last=False)
        super().acknowledge()

    def revoked(self) -> bool:
        """Whether it must not run: revoked, or running or finished in this worker."""
        if self.delivery_info.get("redelivered"):
            if self._execution in _finished:
                self.acknowledge()
                state.task_ready(self)
                return True
            if running := self._running():
                # It acknowledges this delivery, as its own can not be any more.
                running._on_ack, running._on_reject = self._on_ack, self._on_reject
                state.task_ready(self)
                state.requests[running.id] = running
                return True
        return bool(super().revoked())

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Say that it was revoked, unless it had ended before the signal came.

        Celery would store that over the result, which others may have seen by then.
        """
        if terminated and self._has_ended():
            state.task_ready(self)
            self.acknowledge()
            self._already_revoked = True
        else:
            super()._announce_revoked(reason, terminated, signum, expired)

    def _has_ended(self) -> bool:
        try:
            # Not REVOKED: remote control stores that before it sends the signal.
            return self.task.backend.get_state(self.id) in (states.SUCCESS, states.FAILURE)
        except Exception:  # noqa: BLE001 - whatever a backend raises; Celery goes on then
            return False

    @property
    def _execution(self) -> tuple[str, int]:
        # A retry is another execution, under the same id.
        return self.id, self.request_dict.get("retries") or 0

    def _running(self) -> Any:
        same = (one for one in state.active_requests if one.id == self.id and one is not self)
        return next(same, None)
