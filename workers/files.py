"""Files that jobs read and write: checked before the work starts, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bridge.errors import InputError

__all__ = [
    "existing_file",
    "existing_folder",
    "made_folder",
    "open_regular",
    "output_file",
    "shown",
    "written_whole",
]


def existing_folder(path: str) -> Path:
    """Return ``path`` as an absolute path of a folder that can be listed.

    Raises:
        InputError: there is no such folder, it is a file, or the worker has no rights to it.
    """
    folder = _absolute(path)
    if not stat.S_ISDIR(_status(folder, "folder").st_mode):
        raise InputError(f"{shown(folder)} is not a folder: give the path of a folder.")
    try:
        # Listing needs the right to read, reaching what is inside the right to execute.
        os.scandir(folder).close()
        os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 (a Path would drop the dot)
    except PermissionError:
        raise _no_rights("folder", folder) from None
    except OSError as error:
        raise _unusable("folder", folder, error) from error
    return folder


def existing_file(path: str) -> Path:
    """Return ``path`` as an absolute path of a regular file.

    Raises:
        InputError: there is no such file, it is something else, or the worker cannot read it.
    """
    file = _absolute(path)
    if not stat.S_ISREG(_status(file, "file").st_mode):
        raise InputError(f"{shown(file)} is not a regular file: give the path of a file.")
    try:
        open_regular(file).close()
    except PermissionError:
        raise _no_rights("file", file) from None
    except OSError as error:
        raise _unusable("file", file, error) from error
    return file


def output_file(path: str) -> Path:
    """Return ``path`` as an absolute path where a file can be written; links are followed.

    Raises:
        InputError: its folder does not exist, or something that is not a file has that name.
    """
    file = Path(os.path.realpath(_absolute(path)))
    existing_folder(str(file.parent))
    # Replacing a device or a socket by a file would do harm far from here.
    if file.exists() and not file.is_file():
        raise InputError(f"{shown(file)} is not a file: give the name of a file to write.")
    return file


def made_folder(path: str) -> Path:
    """Return ``path`` as an absolute path of a folder, made with its parents where missing.

    Raises:
        InputError: it cannot be made, or nothing can be written in it.
    """
    folder = _absolute(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{shown(folder)} cannot be a folder, a file is in its way: choose another output."
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened, or is not a regular file (any more).
    """
    # Without O_NONBLOCK, opening a named pipe would wait for a writer, perhaps for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(0, "not a regular file", str(path))
    return file


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when the ``with`` block ends well.

    Nothing but writing belongs into the block: an ``OSError`` in it is taken for a failure to
    write.

    Raises:
        InputError: it cannot be written there; what was there before is untouched.
    """
    # In the same folder, since only there a rename is atomic.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def shown(path: Path | str) -> str:
    """Return a path as text that can be sent and stored, whatever bytes are in the name."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _absolute(path: object) -> Path:
    if not isinstance(path, str) or not path or "\0" in path or not _encodable(path):
        raise InputError(f"A path must be text that is not empty, not {path!r}: change it.")
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.resolve would follow links)


def _encodable(path: str) -> bool:
    try:
        return bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def _status(path: Path, kind: str) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        text = f"There is no {kind} {shown(path)} on this worker: check the path."
        raise InputError(text) from None
    except PermissionError:
        raise _no_rights(kind, path) from None
    except OSError as error:
        raise _unusable(kind, path, error) from error


def _no_rights(kind: str, path: Path) -> InputError:
    return InputError(
        f"The worker may not read the {kind} {shown(path)}: give its user the right, "
        f"or choose another {kind}."
    )


def _unusable(kind: str, path: Path, error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(f"The {kind} {shown(path)} cannot be read ({reason}): choose another one.")


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(f"{shown(path)} cannot be written ({reason}): choose another output.")
