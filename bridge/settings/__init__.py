"""All settings, from ``TASKBRIDGE_*`` variables, and what the text of each may be."""

from __future__ import annotations

from bridge.settings.settings import Settings
from bridge.settings.variables import PREFIX, without_keys

__all__ = ["PREFIX", "Settings", "without_keys"]
