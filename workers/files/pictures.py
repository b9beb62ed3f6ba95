"""Pictures from untrusted files: listing, reading within limits, shrinking, tiling."""

from __future__ import annotations

import math
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from bridge.errors import InputError
from workers.files.inputs import Input
from workers.files.paths import shown
from workers.files.tree import Outside

__all__ = ["UnreadablePicture", "cell_size", "pictures", "small", "tiled"]

#: Endings of the files that count as pictures.
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: Formats that are read. No others are tried: some of Pillow's decoders start programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
#: Most pixels of a picture: a small file can declare more than fits into memory.
MAX_PIXELS = 100_000_000
#: Longest side of a sheet of tiled pictures, in pixels.
MAX_SIDE = 4096

#: Exceptions that Pillow's decoders raise for damaged files.
DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError),
    *(NotImplementedError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class UnreadablePicture(Exception):
    """A file is not a picture that can be read; the text says why."""


def pictures(folder: Input) -> list[Input]:
    """Return the files of a folder that have the ending of a picture, sorted by name.

    Links that lead out of the input root are among them: they are skipped, and counted, where the
    thumbnails are made.

    Raises:
        InputError: there are none.
    """
    with folder.listing() as entries:
        found = [entry for entry in entries if PurePath(entry.name).suffix.lower() in ENDINGS]
        files = sorted(entry.name for entry in found if _may_be_picture(folder, entry))
    if not files:
        endings = ", ".join(ENDINGS)
        raise InputError(
            f"There are no pictures in {shown(folder.given)}: choose a folder with {endings} files."
        )
    return [folder.inner(name) for name in files]


def _may_be_picture(folder: Input, entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISREG(folder.inner(entry.name).status().st_mode)
    except Outside:
        return entry.is_symlink()
    except OSError:
        return False


def small(opened: Callable[[], BinaryIO], size: int) -> Image.Image:
    """Return a picture from a file, upright, at most ``size`` pixels wide and high.

    Its mode is RGB, or RGBA if parts of it are transparent. Of an animation it is the first frame.

    Args:
        opened: opens the file for reading.
        size: longest side, in pixels.

    Raises:
        UnreadablePicture: the file is missing, damaged, no picture, or too large.
    """
    try:
        with opened() as file:
            return _small(file, size)
    except DAMAGE as error:
        raise UnreadablePicture(_reason(error)) from error


def _small(file: BinaryIO, size: int) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        # Only the header has been read so far.
        if image.width * image.height > MAX_PIXELS:
            raise UnreadablePicture(
                f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS}"
            )
        # A JPEG is decoded at a fraction of its size right away.
        image.draft("RGB", (size, size))
        picture: Image.Image = image
        if image.mode.startswith("I;16"):
            picture = image.point(lambda value: value / 256)  # convert() would cut, not scale
        picture = picture.convert("RGBA" if image.has_transparency_data else "RGB")
    picture.thumbnail((size, size))
    return ImageOps.exif_transpose(picture)


def cell_size(count: int, size: int) -> int:
    """Return the side of a cell of :func:`tiled`: ``size``, or less if there are too many."""
    return max(1, min(size, MAX_SIDE // _columns(count)))


def tiled(images: Iterable[Image.Image], count: int, cell: int) -> Image.Image:
    """Return ``count`` pictures in rows on white, each in the middle of its square cell."""
    columns = _columns(count)
    sheet = Image.new("RGB", (columns * cell, math.ceil(count / columns) * cell), "white")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        corner = (
            column * cell + (cell - image.width) // 2,
            row * cell + (cell - image.height) // 2,
        )
        sheet.paste(image, corner, image if image.mode == "RGBA" else None)
    return sheet


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not a picture"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {MAX_PIXELS} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is damaged ({error or type(error).__name__})"
