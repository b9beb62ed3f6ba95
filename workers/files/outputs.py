"""Files that a job writes: whole, and in a folder of the job's own below the output root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bridge.errors import InputError
from workers.files.paths import encodable, not_a_path, of_home, shown
from workers.files.tree import Parts, Tree
from workers.running import is_later_attempt, job_id, owner, settings_here

__all__ = ["Output", "job_output"]

#: Owners whose name is the name of their folder. Folders of others are named by a hash, which is
#: longer. Capitals are excluded: some file systems do not distinguish them from lower case.
PLAIN_OWNER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
#: Folder of jobs without an owner; it is neither a plain owner nor a hash.
NO_OWNER = "_"
#: Job ids that are the names of their folders: those that Celery and ``Bridge.enqueue`` make.
PLAIN_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Output:
    """A file or folder that a job may write, in the job's own folder.

    Args:
        tree: the output root.
        parts: path below the output root.
        root: path of the output root, as the settings have it.
    """

    tree: Tree
    parts: Parts
    root: Path

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root.joinpath(*self.parts)

    def inner(self, name: str) -> Output:
        """Return a file or folder in this folder.

        Args:
            name: path relative to this folder; it may contain folders.

        Raises:
            InputError: the name is not valid, is absolute, or leads out of the folder.
        """
        if not encodable(name):
            raise not_a_path()
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if not parts or name.startswith("/") or ".." in parts:
            raise InputError(
                f"The output {shown(name)} is not inside the job's own folder: give a relative "
                "name such as results/manifest, without '..'."
            )
        return Output(self.tree, (*self.parts, *parts), self.root)

    def made_folder(self) -> Output:
        """Make this folder if it is missing, and return it.

        Raises:
            InputError: the folder cannot be made, or nothing can be written in it.
        """
        with self._writing(), self.tree.folder(self.parts, make=True) as folder:
            part, file = _part(folder, "")
            file.close()
            os.unlink(part, dir_fd=folder)
        return self

    def check(self) -> Output:
        """Make the folder of this file if it is missing, and return the file.

        Raises:
            InputError: the file cannot be written.
        """
        Output(self.tree, self.parts[:-1], self.root).made_folder()
        with self._writing(), contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(self.tree.status(self.parts).st_mode):
                raise InputError(
                    f"{shown(self.path)} is a folder: give the name of a file to write."
                )
        return self

    def is_newer_than(self, changed: float) -> bool:
        """Whether there is such a file, written after a time in seconds since the epoch."""
        try:
            status = self.tree.status(self.parts)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_mtime > changed

    def open(self) -> BinaryIO:
        """Open this file for reading.

        Raises:
            OSError: it cannot be opened, or is no regular file.
        """
        return self.tree.open(self.parts)

    @contextlib.contextmanager
    def written_whole(self) -> Iterator[BinaryIO]:
        """Open this file so that it appears under its name only when the ``with`` block ends well.

        Nothing but writing belongs into the block: an ``OSError`` in it is taken for a failure to
        write.

        Raises:
            InputError: the file cannot be written; an earlier version of it is untouched.
        """
        with self._replacement() as (_, file):
            yield file

    @contextlib.contextmanager
    def replacement(self) -> Iterator[Path]:
        """Give the path of an empty file that becomes this one when the ``with`` block ends well.

        For a library that wants a path. Folders made here are accessible to the worker's user
        alone.

        Raises:
            InputError: the file cannot be written; an earlier version of it is untouched.
        """
        with self._replacement() as (part, _):
            yield Path(self.tree.root, *self.parts[:-1], part)

    @contextlib.contextmanager
    def _replacement(self) -> Iterator[tuple[str, BinaryIO]]:
        # In the same folder, and so in the same file system, where a rename is atomic. A rename
        # replaces a link, and does not follow it.
        with self._writing(), self.tree.folder(self.parts[:-1], make=True) as folder:
            name = self.parts[-1]
            if is_later_attempt():
                _remove_left(folder, name)
            part, file = _part(folder, name)
            try:
                with file:
                    before = _version(folder, name)
                    yield part, file
                    file.flush()
                    os.fsync(file.fileno())
                    _become(folder, part, name, before)
            finally:
                _remove(folder, part)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                f"{shown(self.path)} cannot be written, a file or a link is in the way: choose "
                "another output."
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{shown(self.path)} cannot be written ({reason}): choose another output."
            ) from None


def job_output() -> Output:
    """Return the folder of the running job, the same for each attempt; it may not exist yet.

    Raises:
        InputError: jobs may write nothing on this worker.
    """
    settings = settings_here()
    root = settings.output_root
    if root is None:
        raise InputError(
            "Jobs may write nothing on this worker: set TASKBRIDGE_OUTPUT_ROOT to the folder below "
            "which they may write."
        )
    if not root.is_dir():
        raise InputError(
            "The folder that TASKBRIDGE_OUTPUT_ROOT names is not there: make it on this worker."
        )
    whose = owner()
    folder = NO_OWNER if whose is None else _key(whose, PLAIN_OWNER)
    parts = (folder, _key(job_id() or "no job", PLAIN_JOB))
    return Output(Tree(os.path.realpath(root), of_home(settings)), parts, root)


def _key(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _remove(folder: int, part: str) -> None:
    for left in (part, f"{part}-journal"):
        with contextlib.suppress(OSError):
            os.unlink(left, dir_fd=folder)


def _part(folder: int, name: str) -> tuple[str, BinaryIO]:
    """Create a file that is to become the one of this name in a folder, and open it for writing.

    It is locked as long as it is open: no later attempt removes it.
    """
    part = f"{_beginning(name)}{secrets.token_hex(8)}.part"
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
    file = os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb")
    with contextlib.suppress(OSError):  # a file system without locks
        _lock(file.fileno())
    return part, file


def _lock(file: int) -> None:
    """Lock an open file for its descriptor, until that is closed.

    Raises:
        BlockingIOError: it is locked for another one.
        OSError: the file system has no locks.
    """
    import fcntl  # Windows has none, where a worker without these jobs runs

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _beginning(name: str) -> str:
    """Return the beginning of the names of all files that are to become the one of a name."""
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}."


def _version(folder: int, name: str) -> tuple[int, int] | None:
    """Return what tells a file from the one that replaces it, or None if there is no such file.

    The time alone does not: file systems count it in ticks of some milliseconds.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _become(folder: int, part: str, name: str, before: tuple[int, int] | None) -> None:
    """Rename a file that is complete, unless another attempt has written the file meanwhile.

    Args:
        folder: descriptor of the folder.
        part: name of the file.
        name: name that it is to have.
        before: version of the file of that name when this one was begun.

    Raises:
        OSError: it cannot be renamed, or the folder is gone.
    """
    if _version(folder, name) not in (None, before):
        return
    try:
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        if not os.fstat(folder).st_nlink:
            raise


def _remove_left(folder: int, name: str) -> None:
    """Remove what killed attempts have left of a file; what another one is writing stays."""
    # A folder that is opened as a place alone cannot be listed.
    readable = os.open(".", os.O_RDONLY, dir_fd=folder)
    try:
        names = [entry.name for entry in os.scandir(readable)]
    finally:
        os.close(readable)
    for part in names:
        if part.startswith(_beginning(name)) and not _is_written(folder, part):
            _remove(folder, part)


def _is_written(folder: int, part: str) -> bool:
    """Whether a process writes a file: an attempt may go on that is cut off from the broker."""
    try:
        file = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False
    try:
        _lock(file)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(file)
    return False
