"""A ``TASKBRIDGE_AUTH`` function whose answers a test chooses, and that notes what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge import Grant

__all__ = ["HOOK", "Script", "ask", "script"]

#: Its name, as a setting.
HOOK = "support.scripted_session:ask"


class Script:
    """What the function answers from now on, and what it was asked so far."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], Any], Grant | None] = lambda *_: None
        self.asked: list[tuple[dict[str, Any], Any]] = []

    def says(self, grant: Grant | None) -> None:
        """Answer with this."""
        self.answer = lambda *_: grant

    def fails(self, error: Exception) -> None:
        """Raise this."""

        def answer(*_: Any) -> None:
            raise error

        self.answer = answer


script = Script()


def ask(environ: dict[str, Any], auth: Any) -> Grant | None:
    """Answer as the test has said."""
    script.asked.append((dict(environ), auth))
    environ["changed"] = "by the function"
    return script.answer(environ, auth)
