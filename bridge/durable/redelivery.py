"""A request class by which a redelivered task runs once, as long as its first worker lives.

A late acknowledgement cannot be sent over a connection that was lost meanwhile, so the broker
redelivers the message when the worker reconnects. Celery would run the task again, beside the
first execution or after it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from functools import cached_property, partial

from celery import states
from celery.exceptions import TimeLimitExceeded
from celery.worker import state
from celery.worker.request import Request
from kombu.asynchronous import Hub

from bridge.durable import chord_parts, lost_tasks
from bridge.durable.retries import leave_stored
from bridge.instrumentation.header import stopped_clock
from bridge.protocol.json_types import JSONObject
from bridge.results import parent_results
from bridge.untyped import CeleryRequest, ExceptionInfo

__all__ = ["DeduplicatedRequest"]

logger = logging.getLogger(__name__)

#: Finished executions that a worker remembers.
REMEMBERED = 10_000
#: Seconds between two attempts to count a task for its chord, and how many there are: for five
#: minutes, which is longer than the claim of a process that died lasts.
COUNT_AGAIN, COUNTS = 5.0, 60

_finished: OrderedDict[tuple[str, int], None] = OrderedDict()
#: Requests that Celery does not count as active any more, and that are not acknowledged yet, by
#: their execution. In the first: a retry is being published, since the process died, or the task is
#: being counted for its chord. In the second: a failure is being handled.
_retrying: dict[tuple[str, int], DeduplicatedRequest] = {}
_failing: dict[tuple[str, int], DeduplicatedRequest] = {}
#: Held while a request is acknowledged, or gets a delivery to acknowledge: in the pools of threads
#: and greenlets, an execution ends while the worker receives its message again.
_handover = threading.Lock()


class DeduplicatedRequest(Request):
    """A request that does not run again on redelivery if this worker runs it or has finished it."""

    #: Whether the retry after a lost process could not be published.
    _unpublished = False
    #: Whether the task's process died after it had stored the task's result.
    _outlived_process = False
    #: Attempts so far to count the task for its chord.
    _counts = 0

    def _retry_worker_lost(self, error: Exception, info: ExceptionInfo) -> bool:
        """Publish a retry of a task whose pool process died; acknowledge it after the confirm.

        The worker's main process does not wait for the confirm: a broker that blocks publishers
        would keep it from its other tasks, and from cancels.

        Returns:
            Whether the request was handled; otherwise Celery ends it as failed.
        """
        if (loop := lost_tasks.event_loop()) is None:
            return bool(super()._retry_worker_lost(error, info))
        if self._unpublished:
            return False
        _retrying[self._execution] = self
        lost_tasks.publish(partial(self._publish_retry, loop, error, info))
        return True

    def _publish_retry(self, loop: Hub, error: Exception, info: ExceptionInfo) -> None:
        """Publish the retry, on the thread of ``lost_tasks``, however long the confirm takes."""
        # Before the retry is published: later, RETRY might overwrite the end of the next attempt.
        self._store_retry(error, info)
        try:
            with stopped_clock():
                self._unpublished = not super()._retry_worker_lost(error, info)
        except Exception:  # raised by a handler of Celery's after the retry was published
            logger.exception("taskbridge: task %s was not told to be tried again", self.id)
            self.acknowledge()
        finally:
            del _retrying[self._execution]
        if self._unpublished:
            loop.call_soon(self.on_failure, info)

    def _store_retry(self, error: Exception, info: ExceptionInfo) -> None:
        app, backend = self.task.app, self.task.backend  # each thread has its own backend
        if self.store_errors:
            told = self.id, error, info.traceback
            parent_results.store_now(app, "mark_as_retry", *told, request=self._context)
        leave_stored(backend, self._context)

    def _success_was_stored(self) -> JSONObject | bool:
        """Return the result that a process stored before it died; False if it stored none."""
        found: JSONObject | bool = super()._success_was_stored()
        self._outlived_process = bool(found)
        return found

    def acknowledge(self) -> None:
        """Acknowledge the message, and remember that the execution is over.

        A task that may not have been counted for its chord is counted first, on a thread.
        """
        loop = lost_tasks.event_loop()
        if loop is not None and self._may_be_uncounted:
            _retrying[self._execution] = self
            lost_tasks.publish(partial(self._count, loop))
        else:
            self._acknowledge()

    @property
    def _may_be_uncounted(self) -> bool:
        again = self._outlived_process or self.delivery_info.get("redelivered")
        if not again or not (self._context.chord and self._context.group):
            return False
        return chord_parts.is_counted_once(self.task.backend)

    def _count(self, loop: Hub) -> None:
        """Count it for its chord, on the thread of ``lost_tasks``, and acknowledge it then."""
        self._counts += 1
        try:
            is_counted = chord_parts.count(self.task, self._context)
        except Exception as error:  # noqa: BLE001 - whatever a backend or a broker raises
            is_counted = False
            logger.error("taskbridge: task %s is not counted for its chord: %s", self.id, error)
        if is_counted or self._counts >= COUNTS:
            loop.call_soon(self._acknowledge_counted)
        else:
            loop.call_soon(partial(loop.call_later, COUNT_AGAIN, self.acknowledge))

    def _acknowledge_counted(self) -> None:
        _retrying.pop(self._execution, None)
        self._acknowledge()

    def _acknowledge(self) -> None:
        with _handover:
            _finished[self._execution] = None
            if len(_finished) > REMEMBERED:
                _finished.popitem(last=False)
        super().acknowledge()

    def revoked(self) -> bool:
        """Whether the request must not run: revoked, or running or finished in this worker."""
        return self._is_repeated() or bool(super().revoked())

    def _is_repeated(self) -> bool:
        """Whether this worker runs or has finished the execution; if so, settle this delivery."""
        if not self.delivery_info.get("redelivered"):
            return False
        with _handover:
            running = None if (finished := self._is_finished) else self._running()
            if running is not None:
                # It acknowledges this delivery: its own went with a connection.
                running._on_ack, running._on_reject = self._on_ack, self._on_reject
        if finished:
            self.acknowledge()
        elif running is None:
            return False
        state.task_ready(self)
        if running is not None and running in state.active_requests:
            state.requests[running.id] = running
        return True

    def on_failure(
        self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Handle a failure, unless it is a hard time limit that does not count."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)  # wrapped in another process
        if isinstance(error, TimeLimitExceeded) and self._outlived_limit:
            return
        if self._already_cancelled or self._already_revoked:  # and so not acknowledged
            super().on_failure(exc_info, send_failed_event, return_ok)
            return
        _failing[self._execution] = self
        try:
            super().on_failure(exc_info, send_failed_event, return_ok)
        finally:
            del _failing[self._execution]

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Handle a time limit, unless it is a hard one that does not count."""
        if soft or not self._outlived_limit:
            super().on_timeout(soft, timeout)

    @property
    def _outlived_limit(self) -> bool:
        """Whether the task was handed back, or had ended, when its hard time limit passed.

        A worker that stops looks at no limits during its grace, hands its tasks back, and then
        handles those limits. Celery would acknowledge such a task without storing a failure.
        """
        return self._already_cancelled or self._ended_in_time

    @cached_property
    def _ended_in_time(self) -> bool:
        """Whether the task's end was stored when its time limit passed; if so, acknowledge it.

        This process may have been suspended at the limit, or the pool process may have stayed in
        a handler that Celery calls after the end. Celery would report a failure, which must not
        replace a stored success, and is wrong after a retry.
        """
        if not self._has_ended(states.SUCCESS, states.FAILURE, states.RETRY):
            return False
        logger.warning("taskbridge: task %s had ended when its time limit was over", self.id)
        self._outlived_process = True
        state.task_ready(self)
        self.acknowledge()
        return True

    def _announce_revoked(
        self, reason: str, terminated: bool, signum: int | str | None, expired: bool
    ) -> None:
        """Announce that the task was revoked, unless it had ended before the signal came.

        Celery would store REVOKED over the result, which clients may have seen by then.
        """
        # REVOKED is no end here: remote control stores it before it sends the signal.
        if terminated and self._has_ended(states.SUCCESS, states.FAILURE):
            state.task_ready(self)
            self.acknowledge()
            self._already_revoked = True
        else:
            super()._announce_revoked(reason, terminated, signum, expired)

    def _has_ended(self, *ends: str) -> bool:
        # Unless STARTED is stored, the stored state may be that of an earlier attempt.
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

    def _running(self) -> CeleryRequest | None:
        same = (one for one in state.active_requests if one.id == self.id and one is not self)
        ending = _retrying.get(self._execution) or _failing.get(self._execution)
        return next(same, None) or ending

    @property
    def _is_finished(self) -> bool:
        """Whether this worker has finished the execution; it may be about to acknowledge it."""
        return self._execution in _finished or self.id in state.successful_requests
