"""``taskbridge doctor``: each link checked, one line a check, the remedy on failure."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import click

from bridge.celery_app import CONNECT_TIMEOUT, away
from bridge.client import Bridge
from bridge.errors import TaskbridgeError
from bridge.probe import PROBE
from bridge.settings import Settings

__all__ = ["examine"]

#: Seconds that the probe may take from broker to client.
PROBE_TIMEOUT = 15.0


class Ill(Exception):
    """A check failed; the text says what to change."""


def examine() -> int:
    """Run all checks, each only if those before it passed.

    Returns:
        Exit status: 0 if all passed, 1 if not.
    """
    checks = iter(_CHECKS)
    state: dict[str, Any] = {}
    for name, check in checks:
        try:
            click.echo(f"{click.style('ok', fg='green')}       {name:<9}{check(state)}")
        except (Ill, TaskbridgeError) as error:
            click.echo(f"{click.style('failed', fg='red')}   {name:<9}{error}")
            for later, _ in checks:
                click.echo(f"skipped  {later}")
            return 1
    return 0


def _settings(state: dict[str, Any]) -> str:
    state["bridge"] = Bridge(settings=Settings.from_environ())
    return f"channel {state['bridge'].settings.channel}"


def _secret(state: dict[str, Any]) -> str:
    return f"{len(state['bridge'].settings.keys)} key(s)"


def _broker(state: dict[str, Any]) -> str:
    from kombu.utils.url import sanitize_url

    settings = state["bridge"].settings
    url = sanitize_url(settings.broker)
    try:
        with state["bridge"].app.connection_for_write(connect_timeout=CONNECT_TIMEOUT) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT)
    except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
        raise Ill(away(settings, error)) from None
    return str(url)


def _worker(state: dict[str, Any]) -> str:
    replies = state["bridge"].app.control.ping(timeout=1.5)
    if not replies:
        raise Ill("no worker answers on this broker: start one with `taskbridge worker`")
    return ", ".join(sorted(name for reply in replies for name in reply))


def _server(state: dict[str, Any]) -> str:
    url = state["bridge"].settings.server_url
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=3):
            return str(url)
    except OSError as error:
        reason = getattr(error, "reason", error)
        remedy = "start one with `taskbridge serve`, or set TASKBRIDGE_URL"
        raise Ill(f"no healthy socket server at {url} ({reason}): {remedy}") from None


def _probe(state: dict[str, Any]) -> str:
    bridge = state["bridge"]
    job = bridge.enqueue(PROBE, owner="doctor", expires=PROBE_TIMEOUT)
    watcher = bridge.watch(job.id, timeout=PROBE_TIMEOUT)
    seen = list(_until_end(watcher))
    if watcher.snapshot.state != "succeeded":
        raise Ill(
            f"the probe went in and came back {watcher.snapshot.state}: "
            "the worker and the server must share broker, channel and secret"
        )
    return f"broker → worker → server → client, {len(seen)} events"


def _until_end(watcher: Any) -> Iterator[dict[str, Any]]:
    import threading

    # Without a worker on the queue the iteration would wait for ever.
    timer = threading.Timer(PROBE_TIMEOUT, watcher.close)
    timer.start()
    try:
        yield from watcher
    finally:
        timer.cancel()


_CHECKS: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("settings", _settings),
    ("secret", _secret),
    ("broker", _broker),
    ("worker", _worker),
    ("server", _server),
    ("probe", _probe),
]
