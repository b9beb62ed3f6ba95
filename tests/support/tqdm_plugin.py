"""A pytest plugin that runs tqdm's own tests with taskbridge's capture, in a job or outside of one.

``scripts/tqdm_tests.py`` loads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bridge.capture import tqdm_bars
from bridge.testing import record

tqdm_bars.install()


@pytest.fixture(autouse=True)
def _in_a_job() -> Iterator[None]:
    if os.environ["TQDM_MODE"] == "outside":
        yield
        return
    with record():
        yield
