"""For the tests of applications: what their tasks report, without a broker, a worker or a server.

With pytest, the fixtures ``reported`` and ``memory_bridge`` are there as soon as taskbridge is
installed.
"""

from bridge.testing.memory import MemoryBridge, Pushed
from bridge.testing.recorder import Bar, Line, Reported, assert_progress, record

__all__ = ["Bar", "Line", "MemoryBridge", "Pushed", "Reported", "assert_progress", "record"]
