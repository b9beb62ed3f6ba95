"""In which modes of the server an attack means something."""

from __future__ import annotations

__all__ = ["MODES", "NOT_IN", "in_mode"]

#: What serves: the server itself on either library, gunicorn with threads or gevent, the server
#: behind HAProxy.
MODES = ("eventlet", "gevent-serve", "threading", "gevent", "haproxy")

#: Attacks that a mode leaves out, and why.
NOT_IN: dict[str, dict[str, str]] = {
    "slow_head": {
        "threading": "a thread of gunicorn waits for the rest of a head without a bound, so that "
        "there has to be a proxy before it that does not"
    },
    "protocols_of_other_kinds": {
        "threading": "what has no line end is the beginning of a head: see slow_head"
    },
    "body_of_a_request_that_has_none": {
        "haproxy": "HAProxy waits for a body for as long as `timeout client` says: 30 s"
    },
    "more_connections_than_an_address_may_have": {
        "threading": "gunicorn admits connections: worker_connections, threads",
        "gevent": "gunicorn admits connections: worker_connections",
        "haproxy": "HAProxy admits connections: maxconn",
    },
}


def in_mode(names: list[str], mode: str) -> list[str]:
    """Return those of the attacks that a mode does not leave out."""
    return [name for name in names if mode not in NOT_IN.get(name, {})]
