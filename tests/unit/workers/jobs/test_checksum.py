"""The checksum job on real folders, without a broker."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workers.jobs.checksum as module
from bridge import JobCancelled, job
from bridge.errors import InputError
from bridge.protocol.event import MAX_RESULT_BYTES, finite_json
from bridge.testing import assert_progress, record
from support.granted import OWNER, granted
from support.reporting import recorded_bars, recorded_lines
from support.rights import no_rights, reachable_folder
from workers.files.digests import MOST, Digests, Measured
from workers.files.inputs import Input
from workers.jobs.checksum import checksum


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> Iterator[Path]:
    """The folder of the job that runs; it may read all that the test makes."""
    with granted(tmp_path) as own:
        yield own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files at two depths."""
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "b" / "c.bin").write_bytes(b"two" * 1_000_000)
    (folder / "b" / "empty").touch()
    return folder


def checked(folder: Path, manifest: Path) -> subprocess.CompletedProcess[str]:
    """What coreutils says of a manifest."""
    command = ["sha256sum", "--check", "--strict", str(manifest)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")


def test_its_name_is_the_public_one() -> None:
    assert checksum.name == "workers.jobs.checksum"


def test_sha256sum_accepts_the_manifest(folder: Path, own: Path) -> None:
    manifest = own / "SHA256SUMS"
    result = checksum(str(folder), "SHA256SUMS")
    assert result == {
        "files": 3,
        "bytes": 3_000_003,
        "unreadable": 0,
        "skipped": 0,
        "manifest": str(manifest),
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    names = [line.split("  ")[1] for line in manifest.read_text().splitlines()]
    assert names == ["a.txt", "b/c.bin", "b/empty"]
    assert checked(folder, manifest).returncode == 0


def test_the_manifest_tells_a_changed_file(folder: Path, own: Path) -> None:
    checksum(str(folder), "SHA256SUMS")
    (folder / "a.txt").write_bytes(b"One")
    assert "a.txt: FAILED" in checked(folder, own / "SHA256SUMS").stdout


def test_it_is_what_sha256sum_itself_writes_for_the_strangest_names(
    tmp_path: Path, own: Path
) -> None:
    folder, manifest = tmp_path / "folder", own / "SHA256SUMS"
    folder.mkdir()
    strange = ["a\nb", "a\\b", "a\rb", "-", " lead", "tail ", "*star", "ü", "\\", "'\"$x"]
    for name in strange:
        (folder / name).write_text(name)
    (folder / os.fsdecode(b"not-utf8-\xff")).touch()
    result = checksum(str(folder), "SHA256SUMS")
    assert result["files"] == len(strange) + 1
    assert checked(folder, manifest).returncode == 0
    names = sorted(os.fsencode(path.name) for path in folder.iterdir())
    command = [b"sha256sum", *(b"./-" if name == b"-" else name for name in names)]
    theirs = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    assert manifest.read_bytes() == theirs


def test_two_runs_write_the_same_bytes(folder: Path, own: Path) -> None:
    first = checksum(str(folder), "1")
    assert checksum(str(folder), "2") == {**first, "manifest": str(own / "2")}


def test_without_an_output_the_manifest_is_the_output_of_the_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(job, "output", shown.append)
    result = checksum(str(folder))
    assert result["manifest"] is None
    assert hashlib.sha256("".join(shown).encode()).hexdigest() == result["manifest_sha256"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b"]


def test_a_manifest_below_the_folder_does_not_list_itself(
    folder: Path, tmp_path: Path, own: Path
) -> None:
    first = checksum(str(tmp_path), "SHA256SUMS")
    before = (own / "SHA256SUMS").read_bytes()
    assert checksum(str(tmp_path), "SHA256SUMS") == first
    assert first["files"] == 3
    assert (own / "SHA256SUMS").read_bytes() == before
    assert checked(tmp_path, own / "SHA256SUMS").returncode == 0


def test_an_empty_folder_has_an_empty_manifest(tmp_path: Path, own: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert checksum(str(tmp_path / "empty"), "out")["files"] == 0
    assert (own / "out").read_bytes() == b""


def test_links_to_files_are_followed_and_links_to_folders_are_not(folder: Path, own: Path) -> None:
    (folder / "file-link").symlink_to("a.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    result = checksum(str(folder), "out")
    assert (result["files"], result["skipped"], result["unreadable"]) == (4, 1, 1)
    assert "  file-link\n" in (own / "out").read_text()


def test_it_never_waits_for_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded_lines(monkeypatch)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folder / "socket"))
        result = checksum(str(folder))
    assert (result["files"], result["skipped"]) == (3, 2)
    assert ("WARNING", "skipped pipe: not a file") in lines


def test_it_never_waits_for_a_file_that_became_a_pipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(*args: object) -> list[Measured]:
        os.mkfifo(folder / "late")
        return [Measured("a.txt", 3, 1), Measured("late", 9, 1)]

    monkeypatch.setattr(module, "_files", swapped)
    result = checksum(str(folder))
    assert (result["files"], result["unreadable"]) == (1, 1)


def test_what_cannot_be_read_is_logged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded_lines(monkeypatch)
    with reachable_folder() as folder:
        (folder / "inner").mkdir()
        (folder / "open").write_text("x")
        (folder / "shut").write_text("y")
        with granted(folder), no_rights(folder / "inner", folder / "shut"):
            result = checksum(str(folder))
    assert (result["files"], result["unreadable"]) == (1, 2)
    assert sorted(lines) == [
        ("WARNING", "cannot list inner: Permission denied"),
        ("WARNING", "cannot read shut: Permission denied"),
    ]


def test_a_hundred_warnings_are_logged_and_the_rest_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    for number in range(105):
        (tmp_path / f"{number}").symlink_to("nowhere")
    assert checksum(str(tmp_path))["unreadable"] == 105
    assert len(lines) == 101
    assert lines[-1] == ("WARNING", "... and 5 more like these")


def test_both_bars_end_full_even_if_files_shrink_grow_or_vanish(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = recorded_bars(monkeypatch, module)
    found = [Measured("a.txt", 1, 1), Measured("b/c.bin", 5_000_000, 1), Measured("gone", 77, 1)]
    monkeypatch.setattr(module, "_files", lambda *args: found)
    checksum(str(folder))
    assert [(bar.desc, bar.unit, bar.n, bar.total) for bar in bars] == [
        ("files", "file", 3, 3),
        ("bytes", "B", 5_000_078, 5_000_078),
    ]
    assert all(bar.closed for bar in bars)


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_cancelled_job_leaves_no_manifest_and_keeps_the_old_one(
    folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    recorded_bars(monkeypatch, module, cancel_at=step)
    own.mkdir(parents=True)
    (own / "old").write_text("as it was")
    for name in ("new", "old"):
        with pytest.raises(JobCancelled):
            checksum(str(folder), name)
    assert [path.name for path in own.iterdir()] == ["old"]
    assert (own / "old").read_text() == "as it was"


def test_the_result_is_small_json(folder: Path) -> None:
    result = checksum(str(folder), "out")
    assert len(finite_json(result)) < MAX_RESULT_BYTES


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InputError) as error:
        checksum(str(missing))
    assert str(error.value) == (
        f"There is no folder {missing} below the input roots of this worker "
        "(TASKBRIDGE_INPUT_ROOTS): check the path."
    )


def test_a_file_instead_of_a_folder_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt is not a folder: give the path of a folder"):
        checksum(str(folder / "a.txt"))


def test_a_folder_without_rights_is_named() -> None:
    with reachable_folder() as above:
        (above / "shut").mkdir()
        no_right = pytest.raises(InputError, match="may not read the folder")
        with granted(above), no_rights(above / "shut"), no_right:
            checksum(str(above / "shut"))


def test_a_folder_below_one_without_rights_is_named() -> None:
    with reachable_folder() as above:
        (above / "shut" / "inner").mkdir(parents=True)
        no_right = pytest.raises(InputError, match="may not read the folder")
        with granted(above), no_rights(above / "shut"), no_right:
            checksum(str(above / "shut" / "inner"))


@pytest.mark.parametrize("path", ["", "a\0b", 5, None, "\ud800", ["/tmp"], "x" * 5000])
def test_what_is_no_path_is_one_clear_sentence(path: object) -> None:
    with pytest.raises(InputError) as error:
        checksum(path)
    assert str(error.value).endswith((": change it.", ": choose another one."))


def test_an_output_that_cannot_be_written_is_named_before_the_work(
    folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = recorded_bars(monkeypatch, module)
    (own / "inner").mkdir(parents=True)
    (own / "file").touch()
    with pytest.raises(InputError, match="inner is a folder: give the name of a file to write"):
        checksum(str(folder), "inner")
    with pytest.raises(InputError, match="a file or a link is in the way: choose another output"):
        checksum(str(folder), "file/manifest")
    assert bars == []


def test_an_output_in_a_folder_without_rights_is_named() -> None:
    with reachable_folder() as folder, granted(folder):
        (folder / "file").touch()
        with (
            no_rights(folder / "output"),
            pytest.raises(InputError, match=r"cannot be written .Permission denied."),
        ):
            checksum(str(folder), "manifest")
        assert list((folder / "output").iterdir()) == []


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(
    folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot be written .No space left on device."):
        checksum(str(folder), "manifest")
    assert list(own.iterdir()) == []


def test_an_output_replaces_a_link_and_does_not_write_where_it_leads(
    folder: Path, tmp_path: Path, own: Path
) -> None:
    own.mkdir(parents=True)
    (tmp_path / "real").write_text("as it was")
    (own / "link").symlink_to(tmp_path / "real")
    (own / "hard").hardlink_to(tmp_path / "real")
    for name in ("link", "hard"):
        checksum(str(folder), name)
        assert not (own / name).is_symlink()
        assert (own / name).read_bytes().count(b"\n") == 3
    assert (tmp_path / "real").read_text() == "as it was"


def first_attempt(folder: Path, until: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the checkpoint of an attempt that dies when it reads a file of this name."""
    real = module._digest

    def digest(source: Input, *more: Any) -> Any:
        if source.path.endswith(until):
            raise KeyboardInterrupt
        return real(source, *more)

    with monkeypatch.context() as patch, record(owner=OWNER) as reported:
        patch.setattr(module, "_digest", digest)
        patch.setattr("workers.files.digests.INTERVAL", 0)
        with pytest.raises(KeyboardInterrupt):
            checksum(str(folder))
    return reported.checkpoint


def read_by(folder: Path, state: object, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """Return the result of a later attempt, and the names of the files that it reads."""
    real, read = module._digest, []

    def digest(source: Input, *more: Any) -> Any:
        read.append(Path(source.path).name)
        return real(source, *more)

    with monkeypatch.context() as patch, record(owner=OWNER, restored=state) as reported:
        patch.setattr(module, "_digest", digest)
        result = checksum(str(folder))
    assert_progress(reported, desc="files", n=3, total=3)
    assert_progress(reported, desc="bytes", n=3_000_003, total=3_000_003)
    return result, read


def test_a_later_attempt_reads_only_what_the_one_before_has_not_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = checksum(str(folder))
    state = first_attempt(folder, "empty", monkeypatch)
    assert read_by(folder, state, monkeypatch) == (undisturbed, ["empty"])
    os.utime(folder / "a.txt", (1, 1))
    assert read_by(folder, state, monkeypatch) == (undisturbed, ["a.txt", "empty"])


@pytest.mark.parametrize("state", [[], {"x": 1}, "x", 7])
def test_a_checkpoint_of_something_else_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: object
) -> None:
    assert read_by(folder, state, monkeypatch)[1] == ["a.txt", "c.bin", "empty"]


def test_of_many_files_the_digests_of_the_largest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.files.digests.INTERVAL", 0)
    files = [Measured(f"folder/{size}", size, 1) for size in range(1, 2 * MOST)]
    with record() as reported:
        digests = Digests()
        for file in files:
            digests.add(file, bytes(32))
    with record(restored=reported.checkpoint):
        kept = Digests()
        assert [kept.find(file) is not None for file in files] == [
            file.size >= MOST for file in files
        ]


def test_a_digest_that_was_planted_malformed_is_not_used() -> None:
    file = Measured("a", 1, 1)
    with record(restored={file.key: "not base64"}):
        assert Digests().find(file) is None
    with record(restored={file.key: "AAAA"}):
        assert Digests().find(file) is None
