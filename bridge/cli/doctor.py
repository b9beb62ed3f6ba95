"""``taskbridge doctor``: checks each link, with one line per check, and a remedy on failure."""

from __future__ import annotations

import contextlib
import json
import math
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import TYPE_CHECKING, TypedDict

from bridge import extras
from bridge.bus import refusals, stream
from bridge.bus.login import CONNECT_TIMEOUT, check_broker
from bridge.bus.sharding import channel_of
from bridge.cli import drops
from bridge.cli.console import echo
from bridge.client.bridge import Bridge
from bridge.client.celery_app import away, broker_errors
from bridge.client.status import read_result
from bridge.durable import conditions
from bridge.errors import ResultsUnavailable, SettingsError, TaskbridgeError
from bridge.instrumentation.probe_task import PROBE
from bridge.protocol.json_types import JobEvent
from bridge.results.bounded_calls import PATIENCE
from bridge.settings import Settings, broker_url
from bridge.tokens import Grant
from bridge.untyped import CeleryApp, CeleryInspect

if TYPE_CHECKING:
    from bridge.client.watcher import Watcher

__all__ = ["examine"]

#: Seconds by which clocks may differ; less cannot be distinguished from a message's travel time.
MAX_APART = 2.0
#: Seconds that the probe may take from broker to client.
PROBE_TIMEOUT = 15.0
#: Seconds after the probe's end in which the archive must have it.
ARCHIVED = 10.0


class Ill(Exception):
    """A check failed; the text says what to change."""


class Skipped(Exception):
    """A check cannot be made with these settings; the text says why."""


class State(TypedDict, total=False):
    """What the checks so far have found, for the later ones."""

    bridge: Bridge
    #: Seconds by which the clocks of a server and of a worker are ahead of this one.
    apart: float
    worker_apart: float
    #: Seconds that the stream of events reaches back; infinite if that is not known.
    reach: float
    #: Id of the probe's job.
    probe: str


class Health(TypedDict, total=False):
    """What a server tells about itself at ``/healthz``."""

    time: float
    shard: int
    shards: int
    #: Seconds that its stream of events reaches back; missing in 0.1.0, None until it has looked.
    reach: float | None


def examine() -> int:
    """Run all checks in order, until one fails.

    Returns:
        Exit status: 0 if none failed, else 1.
    """
    checks = iter(_CHECKS)
    state: State = {}
    for name, check in checks:
        try:
            echo(f"       {name:<9}{check(state)}", lead="ok", colour="green")
        except Skipped as reason:
            echo(f"skipped  {name:<9}{reason}")
        except (Ill, TaskbridgeError) as error:
            echo(f"   {name:<9}{error}", lead="failed", colour="red")
            for later, _ in checks:
                echo(f"skipped  {later}")
            return 1
    return 0


def _settings(state: State) -> str:
    state["bridge"] = Bridge(settings=Settings.from_environ())
    return f"channel {state['bridge'].settings.channel}"


def _secret(state: State) -> str:
    try:
        return f"{len(state['bridge'].settings.keys)} key(s)"
    except SettingsError:
        return "none: right for a worker and for Flower; servers and services need one"


def _broker(state: State) -> str:
    settings, app = state["bridge"].settings, state["bridge"].app
    url = broker_url.shown(settings.broker)
    try:
        check_broker(app)
    except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
        raise Ill(away(settings, error)) from None
    return url


def _events(state: State) -> str:
    """Check that the stream of each shard exists, without declaring it."""
    settings = state["bridge"].settings
    if not stream.is_amqp(settings.events):
        return "no stream: this broker keeps none, and a server that restarts misses events"
    from bridge.bus.connection import connect

    channels = [channel_of(settings, shard) for shard in range(settings.shards)]
    with connect(settings, settings.events, connect_timeout=CONNECT_TIMEOUT) as connection:
        for name in channels:
            try:
                connection.channel().queue_declare(stream.name_of(name), passive=True)
            except connection.channel_errors as error:
                if (told := refusals.refusal(error, "TASKBRIDGE_EVENTS_URL")) is not None:
                    raise Ill(told) from None
                raise Ill(
                    f"there is no stream {stream.name_of(name)} ({error}): start a server or a "
                    "worker that may make it, or run compose/rabbitmq/definitions.py"
                ) from None
            except connection.connection_errors as error:
                told = refusals.explain_events(error, settings)
                raise Ill(f"{told}: check TASKBRIDGE_EVENTS_URL") from None
    return ", ".join(stream.name_of(name) for name in channels)


def _drops(state: State) -> str:
    """Check whether a job ends if the broker of tasks drops its message."""
    settings = state["bridge"].settings
    if not stream.is_amqp(settings.broker):
        return "none: this broker drops no task"
    if settings.broker_api is None:
        return (
            "not known, as TASKBRIDGE_BROKER_API is not set: without a policy jobs wait for ever "
            "whose messages the broker drops (delivery limit, message-ttl)"
        )
    vhost = state["bridge"].app.connection_for_write().virtual_host
    try:
        return drops.describe(settings, vhost)
    except (OSError, ValueError, HTTPException) as error:
        # The text of an error may quote the URL, which holds a password.
        reason = getattr(error, "reason", type(error).__name__)
        raise Skipped(
            f"RabbitMQ's management API tells nothing ({reason}): check TASKBRIDGE_BROKER_API"
        ) from None


def _results(state: State) -> str:
    from kombu.utils.url import sanitize_url

    results = state["bridge"].settings.results
    extras.demand(*extras.of_urls(results))
    url = sanitize_url(results)
    with contextlib.suppress(Exception):  # the read below says what is wrong
        # Imports the backend's library, which may take longer than an answer.
        _ = state["bridge"].app.backend
    try:
        read_result(state["bridge"].app, str(uuid.uuid4()))
    except ResultsUnavailable as error:
        silent = f"it does not answer within {PATIENCE:g} s"
        reason = str(error.__cause__ or silent).partition("\n")[0]
        raise Ill(f"no results at {url} ({reason}): check TASKBRIDGE_RESULT_URL") from None
    return str(url)


def _worker(state: State) -> str:
    inspect = state["bridge"].app.control.inspect(timeout=1.5)
    try:
        found = inspect.conf()
    except Exception as error:  # noqa: BLE001 - a refusal, of a class of the broker's library
        refused = refusals.refusal(error, "TASKBRIDGE_BROKER_URL")
        if refused is None and isinstance(error, broker_errors()):
            raise Ill(away(state["bridge"].settings, error)) from None
        raise Ill(f"workers cannot be asked ({error}): use the operator's broker URL") from None
    if not found:
        raise Ill("no worker answers on this broker: start one with `taskbridge worker`")
    strangers = _strangers(inspect, str(state["bridge"].app.conf.task_default_queue))
    silent = [name for name, conf in found.items() if not conf.get("worker_send_task_events")]
    note = f"; without events for Flower (start with -E): {', '.join(silent)}" if silent else ""
    if strangers:
        note += f"; without bridge.install(app), so their jobs show nothing: {', '.join(strangers)}"
    return ", ".join(sorted(found)) + note + _broken_promises(state["bridge"].app)


def _broken_promises(app: CeleryApp) -> str:
    """Return what durable workers cannot promise with their application's settings."""
    answers = app.control.broadcast(conditions.COMMAND, reply=True, timeout=1.5) or []
    told = {
        sentence: None
        for answer in answers
        for known in answer.values()
        for sentence in (known.get("unmet", ()) if isinstance(known, dict) else ())
    }
    return "".join(f"; {sentence}" for sentence in told)


def _strangers(inspect: CeleryInspect, queue: str) -> list[str]:
    """Return the workers whose application did not call ``bridge.install``.

    Raises:
        Ill: no other worker reads the queue into which the probe is enqueued.
    """
    tasks, queues = inspect.registered() or {}, inspect.active_queues() or {}
    strangers = sorted(name for name, known in tasks.items() if PROBE not in known)
    if tasks and len(strangers) == len(tasks):
        raise Ill(
            f"no task of {', '.join(strangers)} is watchable: call bridge.install(app) in the "
            "module that makes its Celery application"
        )
    read = {one["name"] for name in queues if name not in strangers for one in queues[name]}
    if queues and queue not in read:
        raise Ill(
            f"no worker reads the queue {queue!r}, into which a job goes that names no queue; "
            f"workers read {', '.join(sorted(read)) or 'none'}: start one with -Q {queue}"
        )
    return strangers


def _server(state: State) -> str:
    settings = state["bridge"].settings
    for shard in range(settings.shards):
        told = _health(settings.url_of(shard, "/healthz"))
        if (settings.shards, shard) != (told.get("shards"), told.get("shard")):
            raise Ill(
                f"at {settings.url_of(shard)} answers a server of shard {told.get('shard')} of "
                f"{told.get('shards')}, not {shard} of {settings.shards}: set TASKBRIDGE_SHARD and "
                "TASKBRIDGE_SHARDS there, or route on ?shard= in the balancer"
            )
        state["apart"] = told["time"] - time.time()
        reach = told.get("reach")
        state["reach"] = min(math.inf if reach is None else reach, state.get("reach", math.inf))
    return str(settings.server_url) + _shortage(state["reach"], settings.replay)


def _shortage(reach: float, replay: float) -> str:
    """Return a warning if the stream reaches back fewer seconds than ``replay``, else nothing."""
    if reach >= replay:
        return ""
    return (
        f"; the stream of events reaches back {reach:.0f} s of TASKBRIDGE_REPLAY={replay:g}: "
        "raise TASKBRIDGE_STREAM_BYTES, or let tasks log less"
    )


def _health(url: str) -> Health:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            told: Health = json.load(answer)
            return told
    except OSError as error:
        reason = getattr(error, "reason", error)
        remedy = "start one with `taskbridge serve`, or set TASKBRIDGE_URL"
        raise Ill(f"no healthy socket server at {url} ({reason}): {remedy}") from None
    except ValueError:
        raise Ill(f"what answers at {url} is no socket server: set TASKBRIDGE_URL") from None


def _clocks(state: State) -> str:
    apart = {"the server": state["apart"], "the worker": state.get("worker_apart", 0.0)}
    for who, seconds in apart.items():
        if abs(seconds) > MAX_APART:
            raise Ill(
                f"the clock of {who} is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
                ": run an NTP client on both, or times and estimates are wrong"
            )
    return "within " + f"{max(0.1, *map(abs, apart.values())):.1f} s"


def _flower(state: State) -> str:
    url = state["bridge"].settings.flower_url
    if not url:
        return "none: TASKBRIDGE_FLOWER_URL is not set"
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/healthcheck", timeout=3):
            return str(url)
    except OSError as error:
        raise Ill(
            f"no Flower at {url} ({error}): start it with `taskbridge flower`, or correct "
            "TASKBRIDGE_FLOWER_URL"
        ) from None


def _probe(state: State) -> str:
    bridge = state["bridge"]
    try:
        bridge.token(owner="doctor")
    except SettingsError:
        raise Skipped("without a secret no job can be watched") from None
    enqueued = time.time()
    job = bridge.enqueue(PROBE, owner="doctor", expires=PROBE_TIMEOUT)
    state["probe"] = job.id
    watcher = bridge.watch(job.id, timeout=PROBE_TIMEOUT)
    seen = list(_until_end(watcher))
    began = [event["at"] for event in seen if event["type"] == "started"]
    # The probe began between `enqueued` and now, if the worker's clock agrees with this one.
    state["worker_apart"] = _outside(began[0], enqueued, time.time()) if began else 0.0
    if watcher.snapshot.state != "succeeded":
        raise Ill(
            f"the probe went in and came back {watcher.snapshot.state}: "
            "the worker and the server must share broker, channel and secret"
        )
    return f"broker → worker → server → client, {len(seen)} events"


def _archive(state: State) -> str:
    """Check that the archive has the probe."""
    settings: Settings = state["bridge"].settings
    if settings.archive_url is None:
        return "none: TASKBRIDGE_ARCHIVE_URL is not set"
    extras.demand("archive", *extras.of_database(settings.archive_url))
    if "probe" not in state:
        raise Skipped("without a probe there is nothing to look for")
    from socket_server.archive.finding.search import ArchiveSearch
    from socket_server.archive.finding.wanted import ArchiveUnavailable

    try:
        with contextlib.closing(ArchiveSearch(settings.archive_url)) as archive:
            grant = Grant(jobs=frozenset({state["probe"]}))
            _await_probe(lambda: archive.log(state["probe"], grant))
    except ArchiveUnavailable as error:
        raise Ill(
            f"the archive does not answer ({error}): check TASKBRIDGE_ARCHIVE_URL, and that "
            "`taskbridge archive` has made its tables"
        ) from None
    return "it has the probe"


def _webhooks(state: State) -> str:
    """Check that each endpoint can be connected to; nothing is sent to it."""
    settings: Settings = state["bridge"].settings
    if not settings.webhooks:
        return "none: TASKBRIDGE_WEBHOOKS is not set"
    if settings.archive_url is None:
        raise Ill("TASKBRIDGE_ARCHIVE_URL is not set: it is the archive that delivers to webhooks")
    from socket_server.archive.webhooks.attempt import Unreachable, reach

    for name, url in settings.webhooks:
        try:
            reach(url, settings.webhook_allow, CONNECT_TIMEOUT)
        except Unreachable as error:
            raise Ill(
                f"the archive cannot deliver to the webhook {name}: {error}; check "
                "TASKBRIDGE_WEBHOOKS, or the way to its host"
            ) from None
    return ", ".join(name for name, _ in settings.webhooks)


def _await_probe(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + ARCHIVED
    while found() is None:
        if time.monotonic() > deadline:
            raise Ill(
                f"the archive has no event of the probe after {ARCHIVED:g} s: start `taskbridge "
                "archive`, or look at its log"
            )
        time.sleep(0.2)


def _outside(value: float, least: float, most: float) -> float:
    """Return by how much a value is above or below a range."""
    return max(0.0, value - most) + min(0.0, value - least)


def _until_end(watcher: Watcher) -> Iterator[JobEvent]:
    import threading

    # Without a worker on the queue the iteration would wait for ever.
    timer = threading.Timer(PROBE_TIMEOUT, watcher.close)
    timer.start()
    try:
        yield from watcher
    finally:
        timer.cancel()


_CHECKS: list[tuple[str, Callable[[State], str]]] = [
    ("settings", _settings),
    ("secret", _secret),
    ("broker", _broker),
    ("events", _events),
    ("drops", _drops),
    ("results", _results),
    ("worker", _worker),
    ("server", _server),
    ("probe", _probe),
    ("archive", _archive),
    ("webhooks", _webhooks),
    ("clocks", _clocks),
    ("Flower", _flower),
]
