"""Test helpers for applications: record tasks' reports without a broker, a worker or a server.

With pytest, the fixtures ``reported`` and ``memory_bridge`` are available once taskbridge is
installed.
"""

from bridge.testing.memory import MemoryBridge, Pushed
from bridge.testing.recorder import Bar, Line, Reported, Step, assert_progress, record

__all__ = ["Bar", "Line", "MemoryBridge", "Pushed", "Reported", "Step", "assert_progress", "record"]
