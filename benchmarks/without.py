"""Our server without some of its guarantees, to measure what they cost.

The variable ``WITHOUT`` names them: any of ``SWITCHES``. Run as a program it serves on eventlet;
``gunicorn without:app`` serves on gevent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from socket_server import __main__ as served  # it patches the standard library first

from bridge.tokens import Grant
from socket_server.bus.sources import Stream
from socket_server.connection.guarded_server import GuardedServer
from socket_server.connection.send_queue import SendQueue
from socket_server.journal.change import Change
from socket_server.journal.journal import Journal
from socket_server.limits.addresses import AddressLimits
from socket_server.limits.connections import ConnectionLimits
from socket_server.limits.rate_limits import RateLimits
from socket_server.watching.auth import Admission, Auth
from socket_server.watching.namespace import JobsNamespace


def replace(place: type, **methods: object) -> None:
    """Replace methods of a class.

    Raises:
        AttributeError: the class has no such method any more.
    """
    for name, method in methods.items():
        if not hasattr(place, name):
            raise AttributeError(f"{place.__name__}.{name}, which {__file__} replaces, is gone")
        setattr(place, name, method)


def constant(value: object) -> Callable[..., object]:
    """Return a method that does nothing but return a value."""
    return lambda *_, **__: value


def without_journal() -> None:
    """Fold and keep no event but the first of a job, by which clients find it."""
    fold = Journal.fold

    def pass_on(self: Any, event: Any, offset: int | None = None, **told: bool) -> Change | None:
        if event.job not in self:
            return fold(self, event, offset, **told)
        encoded = {**event.encode(), "cursor": ""}
        live = not told.get("past")
        return Change(encoded, event, self.of(event.job), ends=False, live=live)

    replace(Journal, fold=pass_on)


def without_tokens() -> None:
    """Accept any token for any job; verify, expire and renew none."""
    replace(Auth, admit=constant(Admission(Grant(), by_session=False)))
    replace(JobsNamespace, _grant=constant(Grant()), expire=constant(None))
    replace(Grant, names=constant(True))


def without_limits() -> None:
    """Count no connections, requests, answers or bytes, and look for no client that is slow."""
    nothing = constant(None)
    for name in ("connect", "disconnect", "request", "charge", "enqueue", "watch"):
        replace(RateLimits, **{name: nothing})
    gate = dict.fromkeys(("begin", "end", "leave", "look_after"), nothing)
    replace(ConnectionLimits, admit=constant(True), **gate)
    replace(AddressLimits, enter=constant(True), leave=nothing, is_too_fast=constant(False))
    replace(GuardedServer, look_after=nothing)
    replace(SendQueue, _is_over=constant(False))


def without_stream() -> None:
    """Read a queue of the server's own with the same reader, and keep no account of offsets."""

    def declared(self: Any, connection: Any) -> int:
        channel = connection.channel()
        self._name = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(self._name, self._settings.channel)
        channel.close()
        return -1

    replace(Stream, _last=declared, _start=constant({}), _is_new=constant(True))


SWITCHES = {
    "journal": without_journal,
    "tokens": without_tokens,
    "limits": without_limits,
    "stream": without_stream,
}

for name in os.environ.get("WITHOUT", "").split():
    SWITCHES[name]()

if __name__ == "__main__":
    sys.exit(served.main())
elif __name__ == "without":
    from socket_server.wsgi import app  # noqa: F401 - gunicorn's
