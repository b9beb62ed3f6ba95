"""The SHA-256 manifest of a folder, as ``sha256sum`` writes it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from celery import shared_task

from bridge import job, progress
from bridge.errors import InputError
from workers.complaints import Complaints
from workers.files import existing_folder, open_regular, output_file, shown, written_whole

__all__ = ["checksum"]

#: Bytes hashed between two steps of the bar.
CHUNK = 1 << 20


@shared_task(name="workers.jobs.checksum", throws=(InputError,))
def checksum(path: str, output: str | None = None) -> dict[str, Any]:
    """Write the SHA-256 of every file in a folder, so that ``sha256sum -c`` can check it there.

    Links to files count as the files they lead to, links to folders are not followed, and what
    is not a file (a pipe, a device) is left out. A file that cannot be read is logged and counted.

    Args:
        path: the folder.
        output: file for the manifest; default: shown as the job's output, as ``sha256sum`` does.

    Returns:
        ``files`` and ``bytes`` hashed, ``unreadable`` and ``skipped`` counted, the path of the
        ``manifest`` (or None) and its own SHA-256 as ``manifest_sha256``.

    Raises:
        InputError: the folder cannot be read, or the manifest cannot be written.
        JobCancelled: somebody cancelled the job; no manifest is left behind.
    """
    folder = existing_folder(path)
    target = None if output is None else output_file(output)
    own, counts = hashlib.sha256(), {"files": 0, "bytes": 0}
    # Links to folders are in many folders, and nobody needs to read of each.
    with Complaints() as unreadable, Complaints(limit=3) as skipped:
        files = _files(folder, target, unreadable, skipped)
        with _manifest(target) as write:
            for name, digest, size in _digests(folder, files, unreadable):
                line = _line(name, digest)
                own.update(line)
                write(line)
                counts["files"] += 1
                counts["bytes"] += size
    return {
        **counts,
        "unreadable": unreadable.count,
        "skipped": skipped.count,
        "manifest": target and shown(target),
        "manifest_sha256": own.hexdigest(),
    }


def _files(
    folder: Path, target: Path | None, unreadable: Complaints, skipped: Complaints
) -> list[tuple[str, int]]:
    """Return path below ``folder`` and size of every file, in the order of ``LC_ALL=C sort``."""
    found, earlier = [], target.stat() if target and target.exists() else None
    for path in progress(_paths(folder, unreadable), desc="listing", unit="file", leave=False):
        name = os.path.relpath(path, folder)
        try:
            status = os.stat(path)  # noqa: PTH116 (of many files: a Path each costs more)
        except OSError as error:
            unreadable.add(f"cannot read {shown(name)}: {error.strerror}")
            continue
        if not stat.S_ISREG(status.st_mode):
            skipped.add(f"skipped {shown(name)}: not a file")
        # An earlier manifest in the folder cannot hold the digest of the one that replaces it.
        elif not (earlier and os.path.samestat(status, earlier)):
            found.append((name, status.st_size))
    return sorted(found, key=lambda file: os.fsencode(file[0]))


def _paths(folder: Path, unreadable: Complaints) -> Iterator[str]:
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry.path
        except OSError as error:
            unreadable.add(f"cannot list {shown(os.path.relpath(here, folder))}: {error.strerror}")


def _digests(
    folder: Path, files: list[tuple[str, int]], unreadable: Complaints
) -> Iterator[tuple[str, str, int]]:
    """Yield path, digest and number of bytes of each file that can be read."""
    total = sum(size for _, size in files)
    with (
        progress(files, desc="files", unit="file") as outer,
        progress(total=total, desc="bytes", unit="B", unit_scale=True) as inner,
    ):
        for name, size in outer:
            inner.set_postfix_str(shown(name), refresh=False)
            try:
                digest, read = _digest(folder / name, size, inner)
            except OSError as error:
                unreadable.add(f"cannot read {shown(name)}: {error.strerror}")
            else:
                yield name, digest, read


def _digest(path: Path, size: int, bar: Any) -> tuple[str, int]:
    """Return digest and length of a file, and move ``bar`` by ``size`` in any case.

    The file may have grown or shrunk since it was measured, or break off.
    """
    digest, read, buffer = hashlib.sha256(), 0, memoryview(bytearray(min(CHUNK, size) or CHUNK))
    try:
        with open_regular(path) as file:
            while count := file.readinto(buffer):  # type: ignore[attr-defined]
                digest.update(buffer[:count])
                bar.update(min(count, max(0, size - read)))
                read += count
    finally:
        bar.update(max(0, size - read))
    return digest.hexdigest(), read


def _line(name: str, digest: str) -> bytes:
    """Return a line as coreutils writes it, names with special characters included."""
    name = "./-" if name == "-" else name  # a lone dash would be standard input
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return os.fsencode(f"{mark}{digest}  {escaped}\n")


@contextlib.contextmanager
def _manifest(target: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Return what takes the manifest's lines: a file, or the job's output."""
    if target is None:
        yield lambda line: job.output(line.decode("utf-8", "backslashreplace"))
    else:
        with written_whole(target) as file:
            yield file.write
