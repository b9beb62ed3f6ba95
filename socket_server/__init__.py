"""The deployable Socket.IO server: reads events from the broker, pushes them to watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socket_server.serving import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    # Not at once: the entry point has to patch the standard library before anything is imported.
    if name == "create_app":
        from bridge import extras

        try:
            from socket_server.serving import create_app
        except ModuleNotFoundError:
            extras.demand("server")
            raise
        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
