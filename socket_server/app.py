"""Composition: settings in, a WSGI application out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import socketio
from flask import Flask

from bridge.bus import stream
from bridge.bus.sharding import served_by
from bridge.bus.write_only_manager import new_writer
from bridge.client.bridge import Bridge
from bridge.settings import Settings
from socket_server.bus.managers import JobsManager, new_manager
from socket_server.bus.stream_reach import Reach
from socket_server.concurrency.state_lock import Turn, new_turn
from socket_server.connection.guard_middleware import Front
from socket_server.connection.guarded_server import new_guarded_server
from socket_server.delivery.dispatcher import Delivery
from socket_server.draining import Draining
from socket_server.estimates.durations import History
from socket_server.estimates.queue_depth import Gauge, Lines
from socket_server.http.collector import Collector
from socket_server.http.health import Health
from socket_server.http.routes import new_health, new_http
from socket_server.journal.journal import Journal
from socket_server.limits.connections import Gate
from socket_server.limits.rate_limits import Limits
from socket_server.liveness.audit import Audit
from socket_server.liveness.inquiry import Disturbances, Inquiry
from socket_server.liveness.path import Path, Prober
from socket_server.liveness.verdicts import Estimates, Verdicts
from socket_server.liveness.watchdog import Watchdog
from socket_server.liveness.worker_inspection import Workers
from socket_server.observability.metrics import Metrics
from socket_server.observability.tracing import new_tracer
from socket_server.watching.auth import Auth
from socket_server.watching.job_lookup import Lookup
from socket_server.watching.namespace import JobsNamespace

__all__ = ["SocketServer", "new_server"]

logger = logging.getLogger(__name__)

#: Seconds between rounds of housekeeping: tokens that expired, jobs to forget.
HOUSEKEEPING = 1.0
#: Seconds between two looks at the queues in which jobs wait.
ESTIMATING = 2.0
#: Seconds between two looks at how far back the stream reaches.
LOOKING_BACK = 30.0


@dataclass(frozen=True, slots=True)
class SocketServer:
    """The parts that an entry point serves.

    ``sio`` is an ordinary ``socketio.Server``: an application may register namespaces and handlers
    of its own on it before it is served.
    """

    bridge: Bridge
    sio: Any
    wsgi: Any
    health: Flask
    well: Health
    draining: Draining
    spread: float
    manager: JobsManager
    journal: Journal
    jobs: JobsNamespace
    watchdog: Watchdog
    verdicts: Verdicts
    estimates: Estimates
    path: Path
    prober: Prober
    disturbances: Disturbances
    inquiry: Inquiry
    reach: Reach
    gate: Gate
    #: What is done every second, beside looking after silent jobs.
    chores: tuple[Callable[[], None], ...]

    def start(self) -> None:
        """Listen to the broker, from now on and not only once a client came."""
        self.bridge.preload()
        self.sio.manager.initialize()
        self.sio.manager_initialized = True
        self.sio.start_background_task(self._again, HOUSEKEEPING, self._keep_house)
        self.sio.start_background_task(self._again, ESTIMATING, self.estimates.tell)
        self.sio.start_background_task(self._probe)
        if self.bridge.settings.auth:
            often = min(HOUSEKEEPING, self.bridge.settings.session_ttl / 20)
            self.sio.start_background_task(self._again, often, self.jobs.renew)
        self.sio.start_background_task(self._again, LOOKING_BACK, self.reach.look)

    def drain(self) -> None:
        """Send all clients away, each at its own time; more come to those that are left."""
        self.well.draining = True
        logger.info("taskbridge: draining: clients are sent away over %g s", self.spread)
        count = self.draining.run()
        logger.info("taskbridge: %d clients were sent away", count)

    def _again(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            self.sio.sleep(seconds)
            try:
                with self.sio.turn:
                    work()
            except Exception:  # the server must outlive whatever one round met
                logger.exception("taskbridge: housekeeping failed")

    def _probe(self) -> None:
        # Never in the turn of others: a publish may wait for the broker for seconds.
        while True:
            self.sio.sleep(self.prober.interval)
            self.prober.probe()

    def _keep_house(self) -> None:
        for chore in self.chores:
            chore()
        for expired in self.watchdog.expired(time.time()):
            self.verdicts.expire(*expired)
        self._look_after_path()
        silences = self.watchdog.look(listening=self.path.is_open)
        for silence in silences:
            if not silence.lost:
                self.sio.start_background_task(self.verdicts.judge, silence)
        self.inquiry.add(one for one in silences if one.lost)

    def _look_after_path(self) -> None:
        heard = self.manager.flow.read + self.manager.probes
        listening = self.manager.alive and self.manager.ready
        if not self.path.look(heard, listening=listening):
            return
        if not self.path.disturbed:
            self.watchdog.refresh()  # before they are heard again, workers may need some time
        self.sio.start_background_task(self._tell_path, self.path.disturbed)

    def _tell_path(self, disturbed: bool) -> None:
        with self.sio.turn:
            self.disturbances.tell_all(disturbed=disturbed)


def new_server(settings: Settings, *, async_mode: str = "eventlet") -> SocketServer:
    """Return a socket server that is not served yet.

    Args:
        settings: see :class:`bridge.settings.Settings`.
        async_mode: python-socketio's; the entry point uses eventlet.

    Raises:
        SettingsError: there is no secret, or ``TASKBRIDGE_AUTH`` cannot be imported.
    """
    assert settings.keys, "a server never starts without a secret"
    metrics = Metrics()
    served = served_by(settings)
    manager = new_manager(served, metrics.flow)
    # All servers read one stream with the same offsets, so a cursor is good on each of them.
    epoch = stream.name_of(served.channel) if stream.is_amqp(settings.events) else None
    journal = Journal(
        retention=settings.retention,
        epoch=epoch,
        max_jobs=settings.journal_jobs,
        max_unfinished=settings.journal_unfinished,
        max_bytes=settings.journal_bytes,
    )
    manager.on_break = journal.restart
    turn = manager.turn = new_turn(async_mode)
    sio = new_guarded_server(
        settings,
        metrics.flow,
        turn,
        async_mode=async_mode,
        client_manager=manager,
        cors_allowed_origins=list(settings.origins) or None,
        transports=list(settings.transports),
    )
    bridge = Bridge(settings=settings)
    lookup = Lookup(bridge, journal, sio.sleep, turn, lambda: manager.whole)
    auth, limits, gate = Auth(settings), Limits(settings), Gate(settings)
    jobs = JobsNamespace(bridge, journal, lookup, auth, limits, lambda: manager.ready)
    sio.register_namespace(jobs)
    watchdog = Watchdog(stalled_after=settings.stalled_after, lost_after=settings.lost_after)
    history, lines = History(), Lines()
    parts = watchdog, history, lines, metrics
    delivery = Delivery(manager, journal, *parts, new_tracer(settings))
    manager.on_event = delivery.take
    reach = Reach(served, lambda: manager.written, turn)
    health = Health(manager, lambda: reach.seconds)
    http = socketio.WSGIApp(sio, _in_turn(new_http(settings, auth, journal, lookup, health), turn))
    front = Front(http, settings, gate, sio.sleep)
    path = Path(settings.stalled_after)
    verdicts = Verdicts(delivery, journal, bridge, turn)
    disturbances = Disturbances(delivery, journal, watchdog, sio)
    delivery.on_word = disturbances.heard

    def forget(job: str) -> None:
        lines.leave(job)
        disturbances.forget(job)

    journal.on_forget = forget
    workers = Workers(settings)
    inquiry = Inquiry(workers, verdicts, watchdog, disturbances, path, sio)
    estimates = Estimates(delivery, journal, manager, lines, history, Gauge(settings), turn)
    ways = path, disturbances
    collector = Collector(metrics, manager, journal, jobs, gate, estimates, reach, ways, sio.sleep)
    metrics.registry.register(collector)
    audit = Audit(journal, verdicts, lambda: metrics.ends_lost, sio, settings.lost_after)
    delivery.on_unreported = audit.note
    return SocketServer(
        bridge=bridge,
        sio=sio,
        wsgi=front,
        health=_in_turn(new_health(settings, health, metrics.registry), turn),
        well=health,
        draining=Draining(sio, settings.drain_spread),
        spread=settings.drain_spread,
        manager=manager,
        journal=journal,
        jobs=jobs,
        watchdog=watchdog,
        verdicts=verdicts,
        estimates=estimates,
        path=path,
        prober=Prober(new_writer(served), manager.host_id, path),
        disturbances=disturbances,
        inquiry=inquiry,
        reach=reach,
        gate=gate,
        chores=(
            jobs.expire,
            sio.look_after,
            gate.look_after,
            front.prune,
            limits.prune,
            journal.prune,
            audit.look,
        ),
    )


def _in_turn(app: Flask, turn: Turn) -> Flask:
    """Let a Flask application answer when it has its turn."""
    answer = app.wsgi_app

    def answer_in_turn(environ: dict[str, Any], start_response: Any) -> Any:
        with turn:
            return answer(environ, start_response)

    app.wsgi_app = answer_in_turn  # type: ignore[method-assign]
    return app
