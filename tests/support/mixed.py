"""Stacks whose server or workers may be of another version: see ``make compatibility``."""

from __future__ import annotations

import os
from pathlib import Path

from support.archive import ArchiveStack
from support.process import ROOT, Process
from support.stack import Stack

__all__ = ["CODE", "MixedArchiveStack", "MixedStack"]

#: Folders of the code that servers and workers run, if it is not this one.
CODE = {"server": os.environ.get("OLD_SERVER"), "worker": os.environ.get("OLD_WORKERS")}
#: Settings of the stack that 0.1.0 does not know, and refuses.
UNKNOWN = (
    "TASKBRIDGE_INPUT_ROOTS",
    "TASKBRIDGE_OUTPUT_ROOT",
    "TASKBRIDGE_ARCHIVE_URL",
    "TASKBRIDGE_ARCHIVE_PORT",
)


class MixedStack(Stack):
    """A stack whose servers and workers run the code that ``CODE`` names."""

    def start(self, name: str, *command: str, **variables: str) -> Process:
        """Start a process of this stack."""
        if (code := CODE.get(name)) is None:
            return super().start(name, *command, **variables)
        log = self.home / f"{name}-{len(self.processes)}.log"
        environ = {**self.env, **variables, "PYTHONPATH": f"{code}:{ROOT / 'tests'}"}
        known = {name: one for name, one in environ.items() if name not in UNKNOWN}
        process = Process(command, log, known, cwd=Path(code))
        self.processes.append(process)
        return process


class MixedArchiveStack(MixedStack, ArchiveStack):
    """The same with an archive of this version."""
