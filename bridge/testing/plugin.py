"""Pytest fixtures; pytest finds this module by the entry point ``taskbridge``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bridge.testing import MemoryBridge, Reported

__all__ = ["memory_bridge", "reported"]


@pytest.fixture
def reported() -> Iterator[Reported]:
    """A job that runs as long as the test does, and records what the code under test reports."""
    from bridge.testing import record  # imported late: tests of other projects load this module too

    with record() as reported:
        yield reported


@pytest.fixture
def memory_bridge() -> MemoryBridge:
    """A bridge that runs enqueued tasks at once, in this process, and needs no broker."""
    from bridge.testing import MemoryBridge

    return MemoryBridge()
