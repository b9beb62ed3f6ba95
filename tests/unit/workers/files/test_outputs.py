"""Files that a job writes: whole or not at all, and nothing is left of a killed attempt."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import InputError
from support.granted import granted
from workers.files import outputs
from workers.files.outputs import job_output

#: A time of files, in nanoseconds since the epoch.
TICK = 1_000_000_000


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> Iterator[Path]:
    """The folder of the job that runs."""
    (tmp_path / "root").mkdir()
    with granted(tmp_path / "root") as own:
        yield own


def leave_half(name: str, monkeypatch) -> None:
    """Write half of a file, as an attempt that is killed meanwhile."""
    with monkeypatch.context() as killed, contextlib.suppress(KeyboardInterrupt):
        killed.setattr(outputs, "_remove", lambda *_: None)
        with job_output().inner(name).written_whole() as file:
            file.write(b"half")
            raise KeyboardInterrupt


def test_a_later_attempt_removes_what_a_killed_one_has_left_of_its_file(own, monkeypatch):
    leave_half("file", monkeypatch)
    leave_half("another", monkeypatch)
    assert len(list(own.iterdir())) == 2
    monkeypatch.setattr(outputs, "is_later_attempt", lambda: True)
    with job_output().inner("file").written_whole() as file:
        file.write(b"whole")
    assert (own / "file").read_bytes() == b"whole"
    assert len(list(own.iterdir())) == 2  # another file's half is not its to remove


def one_tick(folder: Path) -> None:
    """Give all files of a folder the same time, as if all were written in a tick of its clock."""
    for path in folder.iterdir():
        os.utime(path, ns=(TICK, TICK))


def test_a_file_that_is_written_twice_in_a_tick_of_the_clock_has_what_was_written_last(own):
    target = job_output().inner("file")
    for content in (b"first", b"second"):
        with target.written_whole() as file:
            file.write(content)
            file.flush()
            one_tick(own)
        assert (own / "file").read_bytes() == content


def test_a_thawed_attempt_leaves_the_file_of_a_later_one_as_it_is(own, monkeypatch):
    with job_output().inner("file").written_whole() as first:
        first.write(b"first")
        monkeypatch.setattr(outputs, "is_later_attempt", lambda: True)
        with job_output().inner("file").written_whole() as second:
            second.write(b"second")
    assert (own / "file").read_bytes() == b"second"
    assert [path.name for path in own.iterdir()] == ["file"]


def test_an_attempt_that_goes_on_beside_a_later_one_has_its_file_at_its_end(own, monkeypatch):
    """It is cut off from its broker, and not from the result backend. The clock does not decide."""
    with job_output().inner("file").written_whole() as first:
        first.write(b"first")
        first.flush()
        monkeypatch.setattr(outputs, "is_later_attempt", lambda: True)
        later = job_output().inner("file").written_whole()
        second = later.__enter__()
        one_tick(own)
    assert (own / "file").read_bytes() == b"first"
    second.write(b"second")
    second.flush()
    one_tick(own)
    later.__exit__(None, None, None)
    assert (own / "file").read_bytes() == b"first"
    assert [path.name for path in own.iterdir()] == ["file"]


def test_a_folder_that_is_gone_is_told(own):
    target = job_output().inner("file")
    with pytest.raises(InputError, match="cannot be written"), target.written_whole() as file:
        file.write(b"first")
        shutil.rmtree(own)
