"""A folder and all that is below it, opened so that no link leads out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Identity", "Outside", "Parts", "Tree", "identity"]

#: A path from a tree's root: names of folders, and of an entry of the last one.
Parts = tuple[str, ...]
#: Device and inode of a file or folder, the same under each of its names.
Identity = tuple[int, int]

#: Flags to open a folder on the path without the right to list it, and to refuse links.
STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
NO_LINK = os.O_NOFOLLOW
#: Default name of TASKBRIDGE_HOME, which holds a key: a folder of this name is always hidden.
HOME_NAME = ".taskbridge"


class Outside(FileNotFoundError):
    """A path leads out of its tree, or to what is hidden in it; to jobs it does not exist."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT))


def identity(status: os.stat_result) -> Identity:
    """Return what distinguishes a file or folder from all others."""
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder with all that is below it.

    Folders are opened one by one, each relative to the descriptor of the one before and never
    through a link, so that nothing that is renamed or replaced meanwhile leads elsewhere.

    Args:
        root: real path of the folder, without links.
        hidden: files and folders that the tree treats as if they did not exist.
    """

    root: str
    hidden: frozenset[Identity] = frozenset()

    @contextlib.contextmanager
    def folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """Give a descriptor of a folder, to which paths of its entries are relative.

        Args:
            parts: path of the folder.
            make: whether missing folders are made, for the worker's user alone; default not.

        Raises:
            OSError: the folder cannot be opened, or a link is on the path.
        """
        descriptor = os.open(self.root, STEP)
        try:
            self.visible(os.fstat(descriptor))
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                before, descriptor = descriptor, self._step(descriptor, part)
                os.close(before)
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, descriptor: int, part: str) -> int:
        self._check_name(part)
        inner = os.open(part, STEP | NO_LINK, dir_fd=descriptor)
        try:
            self.visible(os.fstat(inner))
        except BaseException:
            os.close(inner)
            raise
        return inner

    def _check_name(self, part: str) -> None:
        if part.casefold() == HOME_NAME:
            raise Outside

    def visible(self, status: os.stat_result) -> os.stat_result:
        """Return the status unchanged.

        Raises:
            Outside: it is the status of a hidden file or folder.
        """
        if identity(status) in self.hidden:
            raise Outside
        return status

    def status(self, parts: Parts) -> os.stat_result:
        """Return the status of a file or folder, or of a link as such.

        Raises:
            OSError: there is no such entry, or a link is on the path.
        """
        if not parts:
            return os.stat(self.root)  # noqa: PTH116
        self._check_name(parts[-1])
        with self.folder(parts[:-1]) as above:
            return self.visible(os.stat(parts[-1], dir_fd=above, follow_symlinks=False))

    def resolve(self, parts: Parts) -> Parts:
        """Return the path without links of an entry.

        Raises:
            Outside: links lead out of the tree.
        """
        real = os.path.realpath(os.path.join(self.root, *parts))  # noqa: PTH118
        if real == self.root:
            return ()
        if not real.startswith(self.root + "/"):
            raise Outside
        return tuple(real[len(self.root) + 1 :].split("/"))

    def open(self, parts: Parts) -> BinaryIO:
        """Open a regular file for reading.

        Raises:
            OSError: it cannot be opened, is no regular file, or a link is on the path.
        """
        with self.folder(parts[:-1]) as above:
            # Opening a device can have effects already. Without O_NONBLOCK, opening a named pipe
            # would wait for a writer, perhaps for ever.
            self._regular(os.stat(parts[-1], dir_fd=above, follow_symlinks=False))
            flags = os.O_RDONLY | os.O_NONBLOCK | NO_LINK
            file = os.fdopen(os.open(parts[-1], flags, dir_fd=above), "rb")
        try:
            self._regular(os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def _regular(self, status: os.stat_result) -> None:
        self.visible(status)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")

    @contextlib.contextmanager
    def listing(self, parts: Parts) -> Iterator[Iterator[os.DirEntry[str]]]:
        """Give the entries of a folder.

        Raises:
            OSError: it cannot be listed, or a link is on the path.
        """
        with self.folder(parts) as folder:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            with os.scandir(descriptor) as entries:
                yield entries
        finally:
            os.close(descriptor)
