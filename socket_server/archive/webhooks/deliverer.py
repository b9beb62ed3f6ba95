"""``Deliverer``: the thread that delivers what is due, some attempts at a time to an endpoint."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

from sqlalchemy.exc import SQLAlchemyError

from socket_server.archive.webhooks.attempt import Answer, Unreachable
from socket_server.archive.webhooks.deliveries import Deliveries, Delivery, Result
from socket_server.archive.webhooks.endpoint import Endpoint
from socket_server.archive.webhooks.figures import OTHERS, WebhookFigures
from socket_server.archive.webhooks.lane import AT_ONCE, GONE, Attempt, Lane

__all__ = ["Deliverer"]

logger = logging.getLogger(__name__)

#: Seconds between two looks for what is due; between two counts of what waits; between two attempts
#: to reach the database at most.
POLL, COUNT, AWAY = 0.5, 10.0, 5.0
#: Deliveries without an endpoint that one count puts off at most.
MAX_PUT_OFF = 100
#: Seconds that attempts are waited for when the archive stops.
FAREWELL = 2.0

#: Makes an attempt: takes the endpoint, the headers and the body; see ``attempt.post``.
Post = Callable[[Endpoint, dict[str, str], bytes], Answer]


class Deliverer:
    """Delivers until it is stopped.

    An attempt whose result was not written, since the archive was killed, is made again.

    Args:
        deliveries: the queue.
        endpoints: endpoints by name.
        figures: figures, which are kept up to date.
        post: makes an attempt, on a thread of its own, in bounded time.
        retention: seconds for which a delivery that is over is kept after it was queued.
        clock: clock in seconds since the epoch.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        endpoints: Mapping[str, Endpoint],
        figures: WebhookFigures,
        post: Post,
        retention: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deliveries, self._figures, self._post = deliveries, figures, post
        self._retention, self._clock = retention, clock
        self._lanes = {name: Lane(one, figures.of(name)) for name, one in endpoints.items()}
        self._others = Lane(None, figures.of(OTHERS))
        self._ended: SimpleQueue[Attempt | None] = SimpleQueue()
        self._results: list[Result] = []
        self._counted: float | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Deliver on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further attempt, and write the results of those that end soon."""
        self._stopping = True
        self._ended.put(None)
        if self._thread.is_alive():
            self._thread.join(2 * FAREWELL)

    def _run(self) -> None:
        pause = POLL
        while not self._stopping:
            try:
                self.look()
                pause = POLL
            except SQLAlchemyError:  # the writer counts and logs that the database is away
                pause = min(AWAY, 2 * pause)
            except Exception:  # one delivery must not end the deliveries of all others
                logger.exception("taskbridge: deliveries to webhooks have failed, trying again")
                pause = AWAY
            self.await_ends(pause)
        self._part()

    def _part(self) -> None:
        """Write the results of attempts that end within ``FAREWELL`` seconds."""
        deadline = time.monotonic() + FAREWELL
        while any(lane.busy for lane in self._lanes.values()) and time.monotonic() < deadline:
            try:
                self._write()
            except SQLAlchemyError:
                return  # they are made again
            self.await_ends(0.1)

    def look(self) -> None:
        """Write the results so far, and begin attempts of what is due.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database does not answer; nothing is lost.
        """
        self._write()
        now = self._clock()
        self._count(now)
        for name, lane in self._lanes.items():
            if lane.is_open(now):
                for delivery in self._deliveries.due(name, now, AT_ONCE):
                    self._begin(lane, delivery)

    def await_ends(self, seconds: float) -> None:
        """Take over how attempts have ended; wait for the first that does, so long at most."""
        try:
            ended = self._ended.get(timeout=seconds)
            while True:
                if ended is not None:
                    lane = self._lanes[ended.delivery.webhook]
                    self._results.append(lane.judge(ended, self._clock()))
                ended = self._ended.get_nowait()
        except Empty:
            return

    def _begin(self, lane: Lane, delivery: Delivery) -> None:
        if delivery.id in lane.busy or len(lane.busy) >= AT_ONCE or lane.endpoint is None:
            return
        arguments = lane.endpoint, delivery
        threading.Thread(target=self._attempt, args=arguments, daemon=True).start()
        lane.busy.add(delivery.id)

    def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> None:
        body = delivery.body.encode()
        try:
            headers = endpoint.headers(delivery.id, int(self._clock()), body)
            ended = Attempt(delivery, self._post(endpoint, headers, body))
        except Unreachable as error:
            ended = Attempt(delivery, None, str(error))
        except Exception:  # an attempt that never ended would not be made again
            logger.exception("taskbridge: delivery %s has failed", delivery.id)
            ended = Attempt(delivery, None, "an error in taskbridge, which its log has")
        self._ended.put(ended)

    def _write(self) -> None:
        if not self._results:
            return
        self._deliveries.record(self._results)
        written = {one.id for one in self._results}
        self._results = []
        for lane in self._lanes.values():
            lane.busy -= written

    def _count(self, now: float) -> None:
        """Now and then, count what waits, put off what has no endpoint, and remove what is old."""
        if self._counted is not None and 0 <= now - self._counted < COUNT:
            return
        for delivery in self._deliveries.unnamed(self._lanes, now, MAX_PUT_OFF):
            reason = f"TASKBRIDGE_WEBHOOKS does not name {delivery.webhook}"
            self._results.append(self._others.put_off(delivery, reason, now))
        for name, lane in self._lanes.items():
            if lane.figures.gone:
                for delivery in self._deliveries.due(name, now, MAX_PUT_OFF):
                    if delivery.id not in lane.busy:
                        self._results.append(lane.put_off(delivery, GONE, now))
        self._write()
        self._deliveries.forget(now - self._retention)
        self._figures.note_waiting(self._deliveries.waiting())
        self._counted = now
