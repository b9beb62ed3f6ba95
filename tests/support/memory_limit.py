"""Lets the kernel kill a process because its memory runs out, as in a container with a limit."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from support.wait import until

__all__ = ["run_out_of_memory"]

#: Folder of the hierarchy, limit, and counter of kills, of cgroups v2 and v1.
HIERARCHIES = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
)
#: Seconds in which a process needs memory that does anything.
PATIENCE = 10
_numbers = itertools.count()


def run_out_of_memory(pid: int) -> None:
    """Move a process into a cgroup that may use no memory, so that the kernel kills it.

    It keeps what it has, and ends with the next page that it needs. One that needs none for a while
    stays as it is. The test is skipped where this user may make no memory cgroup.
    """
    for root, limit, counter in HIERARCHIES:
        group = root / f"taskbridge-{os.getpid()}-{next(_numbers)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                _end_in(group, group / limit, group / counter, pid)
                return
        finally:
            group.rmdir()
    pytest.skip("a memory cgroup needs root, and a hierarchy that can be written to")


def _end_in(group: Path, limit: Path, counter: Path, pid: int) -> None:
    limit.write_text("0")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        until(lambda: _kills(counter), PATIENCE, "the kernel to kill a process without memory")
    except AssertionError:
        (group.parent / "cgroup.procs").write_text(str(pid))
    until(lambda: not (group / "cgroup.procs").read_text(), 30, "its end")


def _kills(counter: Path) -> int:
    fields = dict(line.split() for line in counter.read_text().splitlines())
    return int(fields["oom_kill"])
