"""The SHA-256 manifest of a folder, as ``sha256sum`` writes it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import TypedDict

from celery import shared_task

from bridge import job, progress
from bridge.errors import InputError
from workers.complaints import Complaints
from workers.files.digests import Digests, Measured
from workers.files.inputs import Input, input_folder
from workers.files.outputs import Output, job_output
from workers.files.paths import shown
from workers.files.tree import Outside

__all__ = ["checksum"]

#: Bytes hashed between two steps of the bar.
CHUNK = 1 << 20


class ManifestInfo(TypedDict):
    """Result of :func:`checksum`."""

    files: int
    bytes: int
    unreadable: int
    skipped: int
    manifest: str | None
    manifest_sha256: str


@shared_task(name="workers.jobs.checksum", throws=(InputError,))
def checksum(path: str, output: str | None = None) -> ManifestInfo:
    """Write the SHA-256 of every file in a folder, so that ``sha256sum -c`` can check it there.

    Links to files below the same input root count as the files they lead to. Other links, and
    what is not a file (a pipe, a device), are left out and counted. A file that cannot be read is
    logged and counted. A later attempt reads no file that an earlier one has done, unless it has
    changed since, or is none of the 1,000 largest.

    Args:
        path: the folder: relative to an input root, or absolute and below one.
        output: name of the manifest in the job's output folder; default: its lines are sent as the
            job's output.

    Returns:
        ``files`` and ``bytes`` hashed, ``unreadable`` and ``skipped`` counted, the path of the
        ``manifest`` (or None) and its own SHA-256 as ``manifest_sha256``.

    Raises:
        InputError: the folder cannot be read, or the manifest cannot be written.
        JobCancelled: the job was cancelled; no manifest is left behind.
    """
    folder = input_folder(path)
    target = None if output is None else job_output().inner(output).check()
    own, counts, done = hashlib.sha256(), {"files": 0, "bytes": 0}, Digests()
    # Few skips are logged: links to folders, which are skipped, are common.
    with Complaints() as unreadable, Complaints(limit=3) as skipped:
        files = _files(folder, unreadable, skipped)
        with _manifest(target) as write:
            for name, digest, size in _digests(folder, files, unreadable, done):
                line = _line(name, digest)
                own.update(line)
                write(line)
                counts["files"] += 1
                counts["bytes"] += size
    return {
        "files": counts["files"],
        "bytes": counts["bytes"],
        "unreadable": unreadable.count,
        "skipped": skipped.count,
        "manifest": None if target is None else shown(target.path),
        "manifest_sha256": own.hexdigest(),
    }


def _files(folder: Input, unreadable: Complaints, skipped: Complaints) -> list[Measured]:
    """Return every file, in the order of ``LC_ALL=C sort``."""
    found, entries = [], _entries(folder, unreadable)
    for name, entry in progress(entries, desc="listing", unit="file", leave=False):
        try:
            status = _status(folder, name, entry)
        except Outside:
            # Hidden entries themselves are ignored silently; links to them are reported.
            if entry.is_symlink():
                skipped.add(f"skipped {shown(name)}: it leads out of the input root")
        except OSError as error:
            unreadable.add(f"cannot read {shown(name)}: {error.strerror}")
        else:
            if stat.S_ISREG(status.st_mode):
                found.append(Measured(name, status.st_size, status.st_mtime_ns))
            else:
                skipped.add(f"skipped {shown(name)}: not a file")
    return sorted(found, key=lambda file: os.fsencode(file.name))


def _status(folder: Input, name: str, entry: os.DirEntry[str]) -> os.stat_result:
    if entry.is_symlink():
        return folder.inner(name).status()
    return folder.tree.visible(entry.stat(follow_symlinks=False))


def _entries(folder: Input, unreadable: Complaints) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the path below ``folder``, and the entry, of everything that is not a folder."""
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            with (folder.inner(here) if here else folder).listing() as entries:
                for entry in entries:
                    name = os.path.join(here, entry.name)  # noqa: PTH118
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    else:
                        yield name, entry
        except Outside:
            continue
        except OSError as error:
            unreadable.add(f"cannot list {shown(here)}: {error.strerror}")


def _digests(
    folder: Input, files: list[Measured], unreadable: Complaints, done: Digests
) -> Iterator[tuple[str, str, int]]:
    """Yield path, digest and number of bytes of each file that can be read."""
    known = {file.name: digest for file in files if (digest := done.find(file))}
    before = sum(file.size for file in files if file.name in known)
    total = sum(file.size for file in files)
    with (
        progress(total=len(files), initial=len(known), desc="files", unit="file") as outer,
        progress(total=total, initial=before, desc="bytes", unit="B", unit_scale=True) as inner,
    ):
        for file in files:
            name, size, _ = file
            if (digest := known.get(name)) is not None:
                done.keep(file)
                yield name, digest.hex(), size
                continue
            inner.set_postfix_str(shown(name), refresh=False)
            try:
                digest, read = _digest(folder.inner(name), size, inner)
            except OSError as error:
                unreadable.add(f"cannot read {shown(name)}: {error.strerror}")
            else:
                if read == size:
                    done.add(file, digest)
                yield name, digest.hex(), read
            outer.update()


def _digest(source: Input, size: int, bar: progress) -> tuple[bytes, int]:
    """Return digest and length of a file, and advance ``bar`` by ``size`` in any case.

    The file may have grown or shrunk since it was measured, or reading it may fail.
    """
    digest, read, buffer = hashlib.sha256(), 0, memoryview(bytearray(min(CHUNK, size) or CHUNK))
    try:
        with source.open() as file:
            while count := file.readinto(buffer):  # type: ignore[attr-defined]
                digest.update(buffer[:count])
                bar.update(min(count, max(0, size - read)))
                read += count
    finally:
        bar.update(max(0, size - read))
    return digest.digest(), read


def _line(name: str, digest: str) -> bytes:
    """Return a line as coreutils writes it, names with special characters included."""
    name = "./-" if name == "-" else name  # a lone dash would be standard input
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return os.fsencode(f"{mark}{digest}  {escaped}\n")


@contextlib.contextmanager
def _manifest(target: Output | None) -> Iterator[Callable[[bytes], object]]:
    """Give a function that writes a line of the manifest, to a file or to the job's output."""
    if target is None:
        yield lambda line: job.output(line.decode("utf-8", "backslashreplace"))
    else:
        with target.written_whole() as file:
            yield file.write
