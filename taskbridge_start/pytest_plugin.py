"""Pytest fixtures; pytest finds this module by the entry point ``taskbridge``.

pytest loads it in every project of an environment, so it imports nothing of taskbridge before a
test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from taskbridge_start import hidden

if TYPE_CHECKING:
    from bridge.testing import MemoryBridge, Reported

__all__ = ["memory_bridge", "reported"]


@pytest.fixture
def reported() -> Iterator[Reported]:
    """A job that runs as long as the test does, and records what the code under test reports."""
    _demand()
    from bridge.testing import record

    with record() as reported:
        yield reported


@pytest.fixture
def memory_bridge() -> MemoryBridge:
    """A bridge that runs enqueued tasks at once, in this process, and needs no broker."""
    _demand()
    from bridge.testing import MemoryBridge

    return MemoryBridge()


def _demand() -> None:
    if told := hidden("bridge"):
        pytest.fail(told, pytrace=False)
