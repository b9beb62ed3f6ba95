"""An event as watchers get it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from bridge.protocol.event import finite_json

__all__ = ["Message"]


class Message(dict[str, Any]):
    """An event with its cursor, which is encoded once for whoever needs it; nobody changes it."""

    #: Whether the job ends with it.
    ends = False

    @cached_property
    def text(self) -> str:
        """Its JSON."""
        return finite_json(self)
