"""Files and folders that a test may not read, whoever runs it, root included."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """Give a temporary folder that every user reaches, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def no_rights(*paths: Path) -> Iterator[None]:
    """Take all rights to ``paths`` away for the time of a ``with`` block.

    Root may read everything all the same, so that for root the block runs as nobody.
    """
    modes = {path: path.stat().st_mode for path in paths}
    root = os.geteuid() == 0
    for path in paths:
        path.chmod(0)
    try:
        if root:
            os.seteuid(NOBODY)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
