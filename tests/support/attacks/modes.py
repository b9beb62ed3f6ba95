"""In which modes of the server an attack means something."""

from __future__ import annotations

__all__ = ["MODES", "NOT_IN", "in_mode"]

#: What serves: the server itself, gunicorn with threads or gevent, the server behind HAProxy.
MODES = ("eventlet", "threading", "gevent", "haproxy")

#: Attacks that a mode leaves out, and why.
NOT_IN: dict[str, dict[str, str]] = {}


def in_mode(names: list[str], mode: str) -> list[str]:
    """Return those of the attacks that a mode does not leave out."""
    return [name for name in names if mode not in NOT_IN.get(name, {})]
