"""Files and folders that jobs read: below the roots that the operator named, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bridge.errors import InputError
from bridge.settings import Settings
from workers.files.paths import encodable, not_a_path, of_home, shown
from workers.files.tree import Identity, Outside, Parts, Tree, identity
from workers.running import settings_here

__all__ = ["Input", "input_file", "input_folder", "open_input"]


@dataclass(frozen=True, slots=True)
class Input:
    """A file or folder that a job may read.

    Args:
        tree: the input root.
        parts: its place below it; of these only the last may be a link.
        given: its path as the job was given it.
    """

    tree: Tree
    parts: Parts
    given: str

    @property
    def path(self) -> str:
        """Its absolute path, which names it to another task."""
        return os.path.join(self.tree.root, *self.parts)  # noqa: PTH118

    def inner(self, name: str) -> Input:
        """Return what has a name, or a path without links, in this folder."""
        return Input(self.tree, (*self.parts, *name.split("/")), name)

    def status(self) -> os.stat_result:
        """Return its status, or that of what it is a link to.

        Raises:
            OSError: it cannot be had; of type :class:`.tree.Outside` if the job may not.
        """
        status = self.tree.status(self.parts)
        if stat.S_ISLNK(status.st_mode):
            return self.tree.status(self.tree.resolve(self.parts))
        return status

    def open(self) -> BinaryIO:
        """Open it, or what it is a link to, for reading.

        Raises:
            OSError: it cannot be opened, or is no regular file.
        """
        try:
            return self.tree.open(self.parts)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self.tree.open(self.tree.resolve(self.parts))

    @contextlib.contextmanager
    def listing(self) -> Iterator[Iterator[os.DirEntry[str]]]:
        """Give the entries of this folder.

        Raises:
            OSError: it cannot be listed.
        """
        with self.tree.listing(self.parts) as entries:
            yield entries


def input_folder(path: str) -> Input:
    """Return a folder that can be listed.

    Args:
        path: relative to an input root, or absolute and below one.

    Raises:
        InputError: there is none below an input root, or the worker has no rights to it.
    """
    found, status = _found(path, "folder")
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{shown(path)} is not a folder: give the path of a folder.")
    with _reading("folder", path), found.listing():
        return found


def input_file(path: str) -> Input:
    """Return a regular file that can be read.

    Args:
        path: relative to an input root, or absolute and below one.

    Raises:
        InputError: there is none below an input root, or the worker cannot read it.
    """
    found, status = _found(path, "file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{shown(path)} is not a regular file: give the path of a file.")
    with _reading("file", path):
        found.open().close()
    return found


def open_input(path: str) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: relative to an input root, or absolute and below one.

    Raises:
        InputError: the path is none, or jobs may read nothing.
        OSError: there is none below an input root, or it cannot be opened.
    """
    return _located(path)[0].open()


def _found(path: str, kind: str) -> tuple[Input, os.stat_result]:
    try:
        return _located(path)
    except FileNotFoundError:
        raise InputError(
            f"There is no {kind} {shown(path)} below the input roots of this worker "
            "(TASKBRIDGE_INPUT_ROOTS): check the path."
        ) from None
    except OSError as error:
        raise _unreadable(kind, path, error) from None


def _located(path: str) -> tuple[Input, os.stat_result]:
    """Return what the first input root that has it has under a path, with its status.

    Raises:
        FileNotFoundError: none has it, or it is what a job may not read.
    """
    for tree, parts in _places(path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = Input(tree, tree.resolve(parts), path)
            return found, found.status()
    raise Outside


def _places(path: str) -> Iterator[tuple[Tree, Parts]]:
    """Yield where a path may lead, in each input root. The file system is not asked for it.

    Else an answer would tell what there is outside, as ``/mnt/x/../../data`` does.
    """
    if not encodable(path):
        raise not_a_path()
    settings = settings_here()
    if not settings.input_roots:
        raise InputError(
            "Jobs may read nothing on this worker: set TASKBRIDGE_INPUT_ROOTS to the folders that "
            "they may read."
        )
    plain, hidden = os.path.normpath(path), _hidden(settings)
    for root in settings.input_roots:
        real = os.path.realpath(root)
        for above in dict.fromkeys((os.path.normpath(root), real)):
            below = os.path.relpath(plain, above) if os.path.isabs(plain) else plain  # noqa: PTH117
            parts = tuple(part for part in below.split("/") if part != os.curdir)
            if os.pardir not in parts:
                yield Tree(real, hidden), parts


def _hidden(settings: Settings) -> frozenset[Identity]:
    """Return what no job may read: what is private to taskbridge, and what jobs wrote."""
    try:
        written = [identity(settings.output_root.stat())] if settings.output_root else []
    except OSError:
        written = []
    return of_home(settings).union(written)


@contextlib.contextmanager
def _reading(kind: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(kind, path, error) from None


def _unreadable(kind: str, path: str, error: OSError) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(
            f"The worker may not read the {kind} {shown(path)}: give its user the right, "
            f"or choose another {kind}."
        )
    reason = error.strerror or type(error).__name__
    return InputError(f"The {kind} {shown(path)} cannot be read ({reason}): choose another one.")
