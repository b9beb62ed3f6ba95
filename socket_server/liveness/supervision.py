"""``Supervision``: composes the parts of this folder, and runs them once per second."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.bus import stream
from bridge.bus.write_only_manager import new_write_only_manager
from bridge.client.bridge import Bridge
from bridge.protocol.event import Event
from bridge.settings import Settings
from bridge.untyped import SocketIOServer
from socket_server.bus.jobs_manager import JobsManager
from socket_server.journal.change import Observer
from socket_server.journal.journal import Journal
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.event_path import EventPath, Prober
from socket_server.liveness.gone_messages import GoneMessages
from socket_server.liveness.missing_ends import MissingEnds
from socket_server.liveness.observer import CancelSweep, LivenessObserver
from socket_server.liveness.presumptions import Presumptions
from socket_server.liveness.redeliveries import QueueReader, Redeliveries
from socket_server.liveness.verdicts import Verdicts
from socket_server.liveness.watchdog import Watchdog
from socket_server.liveness.worker_inquiry import WorkerInquiry
from socket_server.liveness.worker_inspection import WorkerInspection
from socket_server.observability.metrics import Metrics

__all__ = ["Supervision"]


class Supervision:
    """The parts that decide whether a task still runs.

    Args:
        settings: limits of silence, and URLs of the brokers.
        served: the same settings, with the channel of the shard that the server reads.
        manager: reads the bus.
        journal: the jobs that the server holds.
        bridge: gives access to the result backend.
        metrics: counts the reports of dropped ends.
        sio: starts background tasks, sleeps, and has the state lock.
        tell: called with each event that the server creates; see :meth:`.Dispatcher.tell`.
        queues: reads the state of queues, over a connection of its own.
    """

    def __init__(
        self,
        settings: Settings,
        served: Settings,
        manager: JobsManager,
        journal: Journal,
        bridge: Bridge,
        metrics: Metrics,
        sio: SocketIOServer,
        tell: Callable[[Event], None],
        queues: QueueReader,
    ) -> None:
        self._manager, self._sio = manager, sio
        stalled, lost = settings.stalled_after, settings.lost_after
        self._watchdog = Watchdog(stalled_after=stalled, lost_after=lost)
        self.path = EventPath(stalled)
        self._prober = Prober(new_write_only_manager(served), manager.host_id, self.path)
        self._verdicts = Verdicts(tell, journal, bridge, sio.state_lock)
        self.disturbances = Disturbances(tell, journal, self._watchdog, sio)
        self._redeliveries = Redeliveries(self._verdicts, queues, sio, lost)
        workers = WorkerInspection(settings)
        asked = workers, self._verdicts, self._watchdog, self.disturbances
        self._inquiry = WorkerInquiry(*asked, self._redeliveries, self.path, sio)
        self._missing_ends = MissingEnds(
            journal, self._verdicts, lambda: metrics.ends_lost, sio, lost
        )
        self._gone_messages = GoneMessages(workers, self._verdicts, self.path, sio, lost)
        #: Whether the broker of tasks reports consumers of queues.
        self._knows_consumers = stream.is_amqp(settings.broker)
        self._presumptions = Presumptions(journal, self._verdicts, sio)
        self._cancel_sweep = CancelSweep(journal)

    @property
    def observers(self) -> list[Observer]:
        """Observers of all changes of the journal."""
        return [LivenessObserver(self._watchdog, self.disturbances), self._missing_ends]

    @property
    def state_observers(self) -> list[Observer]:
        """Observers of the changes that are not ``TALK``."""
        gone = [self._gone_messages] if self._knows_consumers else []
        return [self._cancel_sweep, self._presumptions, self._redeliveries, *gone]

    def probe_for_ever(self) -> None:
        """Publish probes, in a separate background task and without the state lock.

        A publish may wait for the broker for seconds.
        """
        while True:
            self._sio.sleep(self._prober.interval)
            self._prober.probe()

    def look(self) -> None:
        """Check for silent and expired tasks, and for missing ends; called every second."""
        self._missing_ends.look()
        self._presumptions.look()
        self._redeliveries.look()
        self._gone_messages.look()
        for expired in self._watchdog.expired(time.time()):
            self._verdicts.expire(*expired)
        self._look_at_path()
        silences = self._watchdog.look(listening=self.path.is_open)
        for silence in silences:
            if not silence.lost:
                self._sio.start_background_task(self._verdicts.judge, silence)
        self._inquiry.add(one for one in silences if one.lost)

    def _look_at_path(self) -> None:
        heard = self._manager.flow.read + self._manager.probes
        listening = self._manager.alive and self._manager.ready
        if not self.path.look(heard, listening=listening):
            return
        if not self.path.disturbed:
            self._watchdog.refresh()  # workers may need some time until their events arrive again
        self._sio.start_background_task(self._tell_path, self.path.disturbed)

    def _tell_path(self, disturbed: bool) -> None:
        with self._sio.state_lock:
            self.disturbances.tell_all(disturbed=disturbed)
