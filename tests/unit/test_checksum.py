"""The checksum job on real folders, without a broker."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

import workers.jobs.checksum as module
from bridge import JobCancelled, job
from bridge.errors import InputError
from bridge.events import MAX_RESULT_BYTES, finite_json
from support.reporting import recorded_bars, recorded_lines
from support.rights import no_rights, reachable_folder
from workers.jobs.checksum import checksum


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


def test_sha256sum_accepts_the_manifest(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "SHA256SUMS"
    result = checksum(str(folder), str(manifest))
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


def test_the_manifest_tells_a_changed_file(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "SHA256SUMS"
    checksum(str(folder), str(manifest))
    (folder / "a.txt").write_bytes(b"One")
    assert "a.txt: FAILED" in checked(folder, manifest).stdout


def test_it_is_what_sha256sum_itself_writes_for_the_strangest_names(tmp_path: Path) -> None:
    folder, manifest = tmp_path / "folder", tmp_path / "SHA256SUMS"
    folder.mkdir()
    strange = ["a\nb", "a\\b", "a\rb", "-", " lead", "tail ", "*star", "ü", "\\", "'\"$x"]
    for name in strange:
        (folder / name).write_text(name)
    (folder / os.fsdecode(b"not-utf8-\xff")).touch()
    result = checksum(str(folder), str(manifest))
    assert result["files"] == len(strange) + 1
    assert checked(folder, manifest).returncode == 0
    names = sorted(os.fsencode(path.name) for path in folder.iterdir())
    command = [b"sha256sum", *(b"./-" if name == b"-" else name for name in names)]
    theirs = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    assert manifest.read_bytes() == theirs


def test_two_runs_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = checksum(str(folder), str(tmp_path / "1"))
    assert checksum(str(folder), str(tmp_path / "2")) == {**first, "manifest": str(tmp_path / "2")}


def test_without_an_output_the_manifest_is_the_output_of_the_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(job, "output", shown.append)
    result = checksum(str(folder))
    assert result["manifest"] is None
    assert hashlib.sha256("".join(shown).encode()).hexdigest() == result["manifest_sha256"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b"]


def test_a_manifest_inside_the_folder_does_not_list_itself(folder: Path) -> None:
    manifest = folder / "SHA256SUMS"
    first = checksum(str(folder), str(manifest))
    before = manifest.read_bytes()
    assert checksum(str(folder), str(manifest)) == first
    assert manifest.read_bytes() == before
    assert checked(folder, manifest).returncode == 0


def test_an_empty_folder_has_an_empty_manifest(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert checksum(str(tmp_path / "empty"), str(tmp_path / "out"))["files"] == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_links_to_files_are_followed_and_links_to_folders_are_not(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "file-link").symlink_to("a.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    manifest = tmp_path / "out"
    result = checksum(str(folder), str(manifest))
    assert (result["files"], result["skipped"], result["unreadable"]) == (4, 1, 1)
    assert "  file-link\n" in manifest.read_text()


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
    def swapped(*args: object) -> list[tuple[str, int]]:
        os.mkfifo(folder / "late")
        return [("a.txt", 3), ("late", 9)]

    monkeypatch.setattr(module, "_files", swapped)
    result = checksum(str(folder))
    assert (result["files"], result["unreadable"]) == (1, 1)


def test_what_cannot_be_read_is_logged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded_lines(monkeypatch)
    with reachable_folder() as folder:
        (folder / "inner").mkdir()
        (folder / "open").write_text("x")
        (folder / "shut").write_text("y")
        with no_rights(folder / "inner", folder / "shut"):
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
    found = [("a.txt", 1), ("b/c.bin", 5_000_000), ("gone", 77)]
    monkeypatch.setattr(module, "_files", lambda *args: found)
    checksum(str(folder))
    assert [(bar.desc, bar.unit, bar.n, bar.total) for bar in bars] == [
        ("files", "file", 3, 3),
        ("bytes", "B", 5_000_078, 5_000_078),
    ]
    assert all(bar.closed for bar in bars)


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_cancelled_job_leaves_no_manifest_and_keeps_the_old_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    recorded_bars(monkeypatch, module, cancel_at=step)
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("as it was")
    for name in ("new", "old"):
        with pytest.raises(JobCancelled):
            checksum(str(folder), str(out / name))
    assert [path.name for path in out.iterdir()] == ["old"]
    assert (out / "old").read_text() == "as it was"


def test_the_result_is_small_json(folder: Path, tmp_path: Path) -> None:
    result = checksum(str(folder), str(tmp_path / "out"))
    assert len(finite_json(result)) < MAX_RESULT_BYTES


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InputError) as error:
        checksum(str(missing))
    assert str(error.value) == f"There is no folder {missing} on this worker: check the path."


def test_a_file_instead_of_a_folder_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt is not a folder: give the path of a folder"):
        checksum(str(folder / "a.txt"))


def test_a_folder_without_rights_is_named() -> None:
    with reachable_folder() as above:
        (above / "shut").mkdir()
        with no_rights(above / "shut"), pytest.raises(InputError, match="may not read the folder"):
            checksum(str(above / "shut"))


def test_a_folder_below_one_without_rights_is_named() -> None:
    with reachable_folder() as above:
        (above / "shut" / "inner").mkdir(parents=True)
        with no_rights(above / "shut"), pytest.raises(InputError, match="may not read the folder"):
            checksum(str(above / "shut" / "inner"))


@pytest.mark.parametrize("path", ["", "a\0b", 5, None, "\ud800", ["/tmp"], "x" * 5000])
def test_what_is_no_path_is_one_clear_sentence(path: object) -> None:
    with pytest.raises(InputError) as error:
        checksum(path)
    assert str(error.value).endswith((": change it.", ": choose another one."))


def test_an_output_that_cannot_be_written_is_named_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = recorded_bars(monkeypatch, module)
    with pytest.raises(InputError, match=f"There is no folder {tmp_path}/no on this worker"):
        checksum(str(folder), str(tmp_path / "no" / "out"))
    with pytest.raises(InputError, match="is not a file: give the name of a file to write"):
        checksum(str(folder), str(tmp_path))
    with pytest.raises(InputError, match="is not a file"):
        checksum(str(folder), os.devnull)
    assert bars == []


def test_an_output_in_a_folder_without_rights_is_named() -> None:
    with reachable_folder() as folder:
        (folder / "file").touch()
        (folder / "out").mkdir()
        with no_rights(folder / "out"), pytest.raises(InputError, match="may not"):
            checksum(str(folder), str(folder / "out" / "manifest"))
        assert list((folder / "out").iterdir()) == []


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=r"cannot be written .No space left on device."):
        checksum(str(folder), str(out / "manifest"))
    assert list(out.iterdir()) == []


def test_an_output_through_a_link_replaces_what_the_link_leads_to(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("real")
    checksum(str(folder), str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes().count(b"\n") == 3
