"""``new_server``: composes the parts of a socket server from its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIEnvironment

import socketio
from flask import Flask

from bridge import extras
from bridge.bus import stream
from bridge.bus.sharding import served_by
from bridge.client.bridge import Bridge
from bridge.settings import Settings
from bridge.untyped import SocketIOServer
from socket_server.archive.finding.log import JobLog
from socket_server.archive.finding.tasks import JobTasks
from socket_server.archive.finding.wanted import Archive
from socket_server.bus.jobs_manager import JobsManager
from socket_server.bus.managers import new_manager
from socket_server.bus.stream_reach import StreamReach
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import StateLock, new_state_lock
from socket_server.connection.guard_middleware import GuardMiddleware
from socket_server.connection.guarded_server import new_guarded_server
from socket_server.delivery.dispatcher import Dispatcher
from socket_server.delivery.fan_out import FanOut
from socket_server.draining import Draining
from socket_server.estimates.durations import Durations
from socket_server.estimates.estimates import Estimates
from socket_server.estimates.observer import EstimatesObserver
from socket_server.estimates.queue_depth import QueueDepths, WaitingJobs
from socket_server.http.collector import Collector
from socket_server.http.deliveries import add_deliveries
from socket_server.http.health import Health
from socket_server.http.job_list import add_job_list
from socket_server.http.job_log import add_job_log
from socket_server.http.job_tasks import add_job_tasks
from socket_server.http.routes import new_health, new_http
from socket_server.journal.journal import Journal
from socket_server.limits.connections import ConnectionLimits
from socket_server.limits.rate_limits import RateLimits
from socket_server.liveness.supervision import Supervision
from socket_server.observability.metrics import Metrics
from socket_server.observability.tracing import new_tracer
from socket_server.watching.auth import Auth
from socket_server.watching.event_streams import EventStreams
from socket_server.watching.job_lookup import JobLookup
from socket_server.watching.job_search import JobSearch
from socket_server.watching.namespace import JobsNamespace

__all__ = ["SocketServer", "new_server"]

logger = logging.getLogger(__name__)

#: Seconds between rounds of housekeeping: expired tokens, retention of jobs, silent tasks.
HOUSEKEEPING = 1.0
#: Seconds between two rounds of estimates, for which queues are read.
ESTIMATING = 2.0
#: Seconds between two queries of how far back the stream reaches.
LOOKING_BACK = 30.0


@dataclass(frozen=True, slots=True)
class SocketServer:
    """The parts that an entry point serves.

    ``sio`` is an ordinary ``socketio.Server``: an application may register namespaces and handlers
    of its own on it before it is served.
    """

    bridge: Bridge
    sio: SocketIOServer
    wsgi: GuardMiddleware
    health: Flask
    well: Health
    draining: Draining
    manager: JobsManager
    journal: Journal
    jobs: JobsNamespace
    supervision: Supervision
    estimates: Estimates
    reach: StreamReach
    gate: ConnectionLimits
    #: Functions that are called every second, before ``Supervision.look``.
    chores: tuple[Callable[[], None], ...]

    def start(self) -> None:
        """Start background tasks, and listening to the broker, before the first client connects."""
        # First: at a client python-socketio would begin to listen, too, and two readers of one
        # stream lose events.
        self.sio.manager_initialized = True
        self.sio.manager.initialize()
        self.bridge.preload()
        self.sio.start_background_task(self._again, HOUSEKEEPING, self._keep_house)
        self.sio.start_background_task(self._again, ESTIMATING, self.estimates.tell)
        self.sio.start_background_task(self.supervision.probe_for_ever)
        if self.bridge.settings.auth:
            often = min(HOUSEKEEPING, self.bridge.settings.session_ttl / 20)
            self.sio.start_background_task(self._again, often, self.jobs.renew)
        self.sio.start_background_task(self._again, LOOKING_BACK, self.reach.look)

    def drain(self) -> None:
        """Report the server as not ready, and disconnect its clients over some seconds."""
        self.well.draining = True
        spread = self.bridge.settings.drain_spread
        logger.info("taskbridge: draining: clients are sent away over %g s", spread)
        count = self.draining.run()
        logger.info("taskbridge: %d clients were sent away", count)

    def _again(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            self.sio.sleep(seconds)
            try:
                with self.sio.state_lock:
                    work()
            except Exception:  # a failed round must not end the next ones
                logger.exception("taskbridge: housekeeping failed")

    def _keep_house(self) -> None:
        for chore in self.chores:
            chore()
        self.supervision.look()


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that an event passes: from the bus into the journal, and to clients."""

    settings: Settings
    #: The settings with the channel of the shard that this server reads.
    served: Settings
    bridge: Bridge
    metrics: Metrics
    manager: JobsManager
    journal: Journal
    dispatcher: Dispatcher
    sio: SocketIOServer
    state_lock: StateLock


def new_server(settings: Settings, *, async_mode: str | None = None) -> SocketServer:
    """Return a socket server that is not served yet.

    Args:
        settings: settings of the server; see :class:`bridge.Settings`.
        async_mode: async mode of python-socketio; default that of the settings.

    Raises:
        SettingsError: there is no secret, ``TASKBRIDGE_AUTH`` cannot be imported, or the extra that
            the broker needs is not installed.
    """
    assert settings.keys, "a server never starts without a secret"
    extras.demand(*extras.of_urls(settings.broker, settings.events))
    if absent := extras.missing(*extras.of_urls(settings.results)):
        logger.warning("taskbridge: no end of a job is found in the result backend: %s", absent)
    core = _new_core(settings, async_mode or settings.async_mode)
    supervision, estimates = _observe(core)
    journal, manager, metrics, sio = core.journal, core.manager, core.metrics, core.sio
    known = core.bridge, journal, sio.sleep, core.state_lock
    archive = new_archive(settings)
    lookup = JobLookup(*known, lambda: manager.whole, core.dispatcher.tell, archive)
    auth, limits, gate = Auth(settings), RateLimits(settings), ConnectionLimits(settings)
    found = journal, archive, core.state_lock
    search = JobSearch(*found, pace := Pace(sio.sleep))
    tasks = JobTasks(*found, pace)
    asked, ready = (lookup, search, tasks), lambda: manager.ready
    jobs = JobsNamespace(core.bridge, journal, *asked, auth, limits, ready, archive)
    sio.register_namespace(jobs)
    reach = StreamReach(core.served, lambda: manager.written, core.state_lock)
    streams = EventStreams(sio, jobs, journal)
    health = Health(manager, lambda: reach.seconds)
    http = new_http(settings, auth, limits, lookup, health, streams)
    add_job_list(http, auth, limits, search)
    add_job_log(http, auth, limits, JobLog(*found))
    add_job_tasks(http, auth, limits, tasks)
    add_deliveries(http, auth, limits, archive, core.state_lock)
    flask = _with_state_lock(http, core.state_lock)
    front = GuardMiddleware(socketio.WSGIApp(sio, flask), settings, gate, sio.sleep)
    ways = supervision.path, supervision.disturbances
    collector = Collector(metrics, manager, journal, jobs, gate, estimates, reach, ways, sio.sleep)
    metrics.registry.register(collector)
    pruned = front.prune, limits.prune, journal.prune
    return SocketServer(
        bridge=core.bridge,
        sio=sio,
        wsgi=front,
        health=_with_state_lock(new_health(settings, health, metrics.registry), core.state_lock),
        well=health,
        draining=Draining(sio, settings.drain_spread),
        manager=manager,
        journal=journal,
        jobs=jobs,
        supervision=supervision,
        estimates=estimates,
        reach=reach,
        gate=gate,
        chores=(jobs.expire, sio.look_after, gate.look_after, *pruned),
    )


def new_archive(settings: Settings) -> Archive | None:
    """Return what asks the archive; None if no setting names one.

    Raises:
        SettingsError: the extra that it needs is not installed.
    """
    if settings.archive_url is None:
        return None
    extras.demand("archive", *extras.of_database(settings.archive_url))
    from socket_server.archive.finding.search import ArchiveSearch

    return ArchiveSearch(settings.archive_url)


def _new_core(settings: Settings, async_mode: str) -> Core:
    metrics, served, state_lock = Metrics(), served_by(settings), new_state_lock(async_mode)
    manager = new_manager(served, metrics.flow)
    manager.state_lock = state_lock
    journal = Journal(
        retention=settings.retention,
        # All servers read one stream with the same offsets, so a cursor is valid on each of them.
        epoch=stream.name_of(served.channel) if stream.is_amqp(settings.events) else None,
        max_jobs=settings.journal_jobs,
        max_unfinished=settings.journal_unfinished,
        max_bytes=settings.journal_bytes,
    )
    manager.on_break = journal.restart
    sio = new_guarded_server(
        settings,
        metrics.flow,
        state_lock,
        async_mode=async_mode,
        client_manager=manager,
        transports=list(settings.transports),
    )
    dispatcher = Dispatcher(journal, FanOut(manager), metrics, new_tracer(settings))
    manager.on_event = dispatcher.take
    bridge = Bridge(settings=settings)
    parts = metrics, manager, journal, dispatcher, sio, state_lock
    return Core(settings, served, bridge, *parts)


def _observe(core: Core) -> tuple[Supervision, Estimates]:
    """Create the parts that send events of their own, and register their observers."""
    settings, journal, manager, state_lock = (
        core.settings,
        core.journal,
        core.manager,
        core.state_lock,
    )
    tell, known = core.dispatcher.tell, (manager, journal, core.bridge, core.metrics, core.sio)
    supervision = Supervision(settings, core.served, *known, tell, QueueDepths(settings))
    lines, history = WaitingJobs(), Durations()
    gauge = QueueDepths(settings)
    estimates = Estimates(tell, journal, manager.is_watched, lines, history, gauge, state_lock)
    core.dispatcher.observers += supervision.observers
    core.dispatcher.state_observers += supervision.state_observers
    core.dispatcher.state_observers.append(EstimatesObserver(lines, history))

    def forget(job: str) -> None:
        lines.leave(job)
        supervision.disturbances.forget(job)

    journal.on_forget = forget
    return supervision, estimates


def _with_state_lock(app: Flask, state_lock: StateLock) -> Flask:
    """Hold the state lock while a Flask application answers."""
    answer = app.wsgi_app

    def answer_with_state_lock(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        with state_lock:
            return answer(environ, start_response)

    app.wsgi_app = answer_with_state_lock  # type: ignore[method-assign]
    return app
