"""Work that would block the server, done aside: the result backend may be slow, or away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from socket_server.turn import Turn

__all__ = ["Aside"]


class Aside:
    """Calls a function where it blocks nobody but who asked.

    :attr:`run` is set by who serves: under eventlet, to a thread of its own, and only one, since
    locks that eventlet has patched must not be shared by two. By default it is called in place.

    Args:
        turn: which others have meanwhile.
    """

    run: Callable[..., Any] = staticmethod(lambda call, *arguments: call(*arguments))

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``call(*arguments)`` returns."""
        return self._turn.outside(self.run, call, *arguments)
