"""The fixtures under their name of 0.1.0, which environments and ``-p`` may still give."""

from taskbridge_start.pytest_plugin import memory_bridge, reported

__all__ = ["memory_bridge", "reported"]
