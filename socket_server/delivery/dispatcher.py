"""``Dispatcher``: folds events into the journal, and passes changes to clients and observers."""

from __future__ import annotations

from bridge.protocol.event import TALK, Event
from socket_server.delivery.fan_out import FanOut
from socket_server.journal.change import Change, Observer
from socket_server.journal.journal import Journal
from socket_server.observability.metrics import Metrics
from socket_server.observability.tracing import Delivered

__all__ = ["Dispatcher"]


class Dispatcher:
    """Takes events from the bus, and events that the server creates itself.

    Args:
        journal: folds events into snapshots.
        fan_out: sends changes to clients.
        metrics: counts events, and adds up the reports of emitters.
        delivered: creates spans of deliveries; default None for no spans.
    """

    #: Called with each change after it was sent to clients, in this order.
    observers: list[Observer]
    #: Called after ``observers``, but not for lines of a log, output and progress (``TALK``).
    state_observers: list[Observer]

    def __init__(
        self,
        journal: Journal,
        fan_out: FanOut,
        metrics: Metrics,
        delivered: Delivered | None = None,
    ) -> None:
        self._journal, self._fan_out = journal, fan_out
        self._metrics, self._delivered = metrics, delivered
        self.observers, self.state_observers = [], []

    def take(
        self, event: Event, offset: int | None = None, *, live: bool = True, late: bool = False
    ) -> None:
        """Take an event of the bus.

        Args:
            event: as it was published.
            offset: its offset in the stream; None without a stream.
            live: False while the server replays the stream.
            late: whether earlier events of its job may have been dropped from the stream.
        """
        change = self._journal.fold(event, offset, late=late, past=not live)
        watched = change is not None and self._dispatch(change)
        self._metrics.took(event, live=live, news=change is not None, watched=watched)
        if watched and self._delivered and (trace := event.notes.get("trace")):
            self._delivered(event, trace)

    def tell(self, event: Event, *, live: bool = True) -> None:
        """Take an event that the server has created for its own clients.

        Args:
            event: a verdict, an estimate or a disturbance.
            live: False if it follows from an event that is replayed.
        """
        if change := self._journal.fold(event, past=not live):
            self._dispatch(change)

    def _dispatch(self, change: Change) -> bool:
        watched = self._fan_out(change)
        if change.ends and change.live:
            self._metrics.ended(change.snapshot)
        self._inform(self.observers, change)
        if change.event.type not in TALK:
            self._inform(self.state_observers, change)
        return watched

    def _inform(self, observers: list[Observer], change: Change) -> None:
        for observe in observers:
            for event in observe(change):
                self.tell(event, live=change.live)
