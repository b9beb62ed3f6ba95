"""Files and folders that jobs may read: those below the input roots, and no others."""

from __future__ import annotations

import contextlib
import errno
import math
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

__all__ = ["Input", "input_changed", "input_file", "input_folder", "open_input"]


@dataclass(frozen=True, slots=True)
class Input:
    """A file or folder that a job may read.

    Args:
        tree: the input root.
        parts: path below the input root; only the last part may be a link.
        given: the path, as the job got it.
    """

    tree: Tree
    parts: Parts
    given: str

    @property
    def path(self) -> str:
        """The absolute path, by which another task can find it."""
        return os.path.join(self.tree.root, *self.parts)  # noqa: PTH118

    def inner(self, name: str) -> Input:
        """Return the entry of this folder with a name, or with a path without links."""
        return Input(self.tree, (*self.parts, *name.split("/")), name)

    def status(self) -> os.stat_result:
        """Return its status, or that of the target if it is a link.

        Raises:
            OSError: there is no status; :class:`.tree.Outside` if the job may not read it.
        """
        status = self.tree.status(self.parts)
        if stat.S_ISLNK(status.st_mode):
            return self.tree.status(self.tree.resolve(self.parts))
        return status

    def open(self) -> BinaryIO:
        """Open it, or its target if it is a link, for reading.

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
        InputError: the path is not valid, or there are no input roots.
        OSError: there is no such file below an input root, or it cannot be opened.
    """
    return _located(path)[0].open()


def input_changed(path: str) -> float:
    """Return when a file was last changed, in seconds since the epoch; infinity if it is not there.

    Args:
        path: relative to an input root, or absolute and below one.

    Raises:
        InputError: the path is not valid, or there are no input roots.
    """
    try:
        return _located(path)[1].st_mtime
    except OSError:
        return math.inf


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
    """Return the input with a path, and its status, from the first input root that has it.

    Raises:
        FileNotFoundError: no input root has it, or jobs may not read it.
    """
    for tree, parts in _places(path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = Input(tree, tree.resolve(parts), path)
            return found, found.status()
    raise Outside


def _places(path: str) -> Iterator[tuple[Tree, Parts]]:
    """Yield the possible places of a path in each input root, from its text alone.

    A look at the file system would reveal what exists outside, with ``/mnt/x/../../data`` say.
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
    """Return what no job may read: taskbridge's private files, and the output root."""
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
