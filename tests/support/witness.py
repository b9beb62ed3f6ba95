"""Starts the honest client as a process of its own, and asks it what it saw."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from support.process import ROOT
from support.stack import Stack

__all__ = ["Witness"]


class Witness:
    """An honest client beside whatever happens.

    Args:
        stack: whose server.
        job: id of its job.
    """

    def __init__(self, stack: Stack, job: str) -> None:
        environ = {**stack.env, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
        command = [sys.executable, "-m", "support.honest", job]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environ, cwd=ROOT, **pipes)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self, seconds: float) -> None:
        """Let it look for so many seconds from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Return what it saw; see ``support.honest``."""
        assert self._process.stdout is not None
        seen: dict[str, Any] = json.loads(self._process.stdout.readline())
        return seen

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
