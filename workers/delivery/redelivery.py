"""A task that the broker delivers again runs once, as long as its first worker lives.

A late acknowledgement cannot be sent over a connection that was lost meanwhile, so the broker
delivers the message once more when the worker comes back. Celery would run it again beside the
first run, or after it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import cached_property, partial
from typing import Any

from celery import states
from celery.exceptions import TimeLimitExceeded
from celery.worker import state
from celery.worker.request import Request
from kombu.asynchronous import get_event_loop

from bridge.instrumentation.publish_signals import stopped_clock
from bridge.results import parent_results
from workers.delivery import lost_tasks
from workers.delivery.retries import leave_stored

__all__ = ["OnceHere"]

logger = logging.getLogger(__name__)

#: Finished executions that a worker remembers.
REMEMBERED = 10_000

_finished: OrderedDict[tuple[str, int], None] = OrderedDict()
#: Requests that lost their pool process, while their retry is being published; by the execution.
_retrying: dict[tuple[str, int], OnceHere] = {}


class OnceHere(Request):
    """A request that leaves a redelivered message to the run of this worker that it belongs to."""

    #: Whether the retry after a lost process could not be published.
    _unpublished = False

    def _retry_worker_lost(self, error: Any, info: Any) -> bool:
        """Publish a retry of a task that lost its pool process; acknowledge it after the confirm.

        The worker's main process does not wait for that: a broker that blocks publishers would keep
        it from its other tasks, and from cancels.

        Returns:
            Whether the request is taken care of; Celery ends it as failed otherwise.
        """
        if (loop := get_event_loop()) is None:
            return bool(super()._retry_worker_lost(error, info))
        if self._unpublished:
            return False
        _retrying[self._execution] = self
        lost_tasks.publish(partial(self._publish_retry, loop, error, info))
        return True

    def _publish_retry(self, loop: Any, error: Any, info: Any) -> None:
        """Publish it, on a thread of its own, however long the broker takes to confirm it."""
        # Before it is published: later, it might be stored over the end of the next attempt.
        self._store_retry(error, info)
        try:
            with stopped_clock():
                self._unpublished = not super()._retry_worker_lost(error, info)
        except Exception:  # whatever a handler of Celery's raises, after the retry was published
            logger.exception("taskbridge: task %s was not told to be tried again", self.id)
            self.acknowledge()
        finally:
            del _retrying[self._execution]
        if self._unpublished:
            loop.call_soon(self.on_failure, info)

    def _store_retry(self, error: Any, info: Any) -> None:
        app, backend = self.task.app, self.task.backend  # this thread's own
        if self.store_errors:
            told = self.id, error, info.traceback
            parent_results.store_now(app, "mark_as_retry", *told, request=self._context)
        leave_stored(backend, self._context)

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
                if running in state.active_requests:
                    state.requests[running.id] = running
                return True
        return bool(super().revoked())

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Take in that it failed, unless its time limit was over after its end."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)  # of another process
        if not (isinstance(error, TimeLimitExceeded) and self._ended_in_time):
            super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Take in that its time limit was over, unless that was after its end."""
        if soft or not self._ended_in_time:
            super().on_timeout(soft, timeout)

    @cached_property
    def _ended_in_time(self) -> bool:
        """Whether it had stored how it ended when its hard time limit was over.

        This process may have been suspended at the limit, or the task's process may have stayed in
        what Celery calls after the end. Celery would say that the task failed, which can be neither
        stored over a success nor be right after a retry.
        """
        if not self._has_ended(states.SUCCESS, states.FAILURE, states.RETRY):
            return False
        logger.warning("taskbridge: task %s had ended when its time limit was over", self.id)
        state.task_ready(self)
        self.acknowledge()
        return True

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        """Say that it was revoked, unless it had ended before the signal came.

        Celery would store that over the result, which others may have seen by then.
        """
        # Not REVOKED: remote control stores that before it sends the signal.
        if terminated and self._has_ended(states.SUCCESS, states.FAILURE):
            state.task_ready(self)
            self.acknowledge()
            self._already_revoked = True
        else:
            super()._announce_revoked(reason, terminated, signum, expired)

    def _has_ended(self, *ends: str) -> bool:
        # Else a stored state may be that of an attempt before.
        if self.ignore_result or not self.task.track_started:
            return False
        try:
            return self.task.backend.get_state(self.id) in ends
        except Exception:  # noqa: BLE001 - whatever a backend raises; Celery goes on then
            return False

    @property
    def _execution(self) -> tuple[str, int]:
        # A retry is another execution, under the same id.
        return self.id, self.request_dict.get("retries") or 0

    def _running(self) -> Any:
        same = (one for one in state.active_requests if one.id == self.id and one is not self)
        return next(same, None) or _retrying.get(self._execution)
