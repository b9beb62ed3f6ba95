"""Thumbnails of the pictures in a folder, one task per picture, and a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from typing import TypedDict

from celery import chord, shared_task
from PIL import Image

from bridge import job, progress
from bridge.errors import InputError
from bridge.untyped import CeleryTask, Signature
from workers.files.inputs import input_changed, input_folder, open_input
from workers.files.outputs import Output, job_output
from workers.files.paths import shown
from workers.files.pictures import UnreadablePicture, cell_size, pictures, small, tiled
from workers.running import is_later_attempt

__all__ = ["contact_sheet", "thumbnail", "thumbnails", "thumbnails_canvas"]

#: Largest side of a thumbnail, in pixels.
MAX_SIZE = 2048
#: Most pictures of one job: each is a task, whose result is passed to the last task.
MAX_PICTURES = 10_000


class SheetInfo(TypedDict):
    """Result of :func:`thumbnails` and :func:`contact_sheet`."""

    pictures: int
    thumbnails: int
    skipped: int
    output: str
    contact_sheet: str


@shared_task(name="workers.jobs.thumbnails", bind=True, throws=(InputError,))
def thumbnails(
    self: CeleryTask, folder: str, output: str | None = None, size: int = 256
) -> SheetInfo:
    """Make a thumbnail of each picture in a folder, and a contact sheet of them all.

    A picture that cannot be read is logged and counted; the contact sheet has the rest.

    Args:
        folder: where the pictures are: relative to an input root, or absolute and below one;
            folders in it are not looked into.
        output: name of a folder in the job's output folder for ``contact-sheet.jpg`` and
            ``thumbnails/``, made where missing; default: the job's output folder itself.
        size: longest side of a thumbnail, in pixels.

    Returns:
        What :func:`contact_sheet` returns.

    Raises:
        InputError: the folder has no pictures or cannot be read, or the output cannot be written.
        JobCancelled: the job was cancelled; thumbnails made so far remain.
    """
    canvas = thumbnails_canvas(folder, output, size)
    _target(output).inner("thumbnails").made_folder()
    # The chord takes this task's place: its last task gets this one's id, and so its result
    # becomes the job's.
    result: SheetInfo = self.replace(canvas)
    return result


def thumbnails_canvas(folder: str, output: str | None = None, size: int = 256) -> Signature:
    """Return a chord that does the work of :func:`thumbnails`, to enqueue or to combine.

    The caller lists the folder, so the folder must be below an input root there too.

    Raises:
        InputError: as for :func:`thumbnails`.
    """
    _check_size(size)
    files = pictures(input_folder(folder))
    if len(files) > MAX_PICTURES:
        text = f"There are more than {MAX_PICTURES} pictures in {shown(folder)}: split it."
        raise InputError(text)
    header = [thumbnail.s(file.path, output, size) for file in files]
    return chord(header, contact_sheet.s(output, size))


def _check_size(size: object) -> None:
    if not isinstance(size, int) or not 0 < size <= MAX_SIZE:
        raise InputError(f"The size must be a number of pixels from 1 to {MAX_SIZE}: correct it.")


def _target(output: str | None) -> Output:
    """Return the folder that the argument ``output`` of a task names."""
    folder = job_output()
    return folder if output is None else folder.inner(output)


@shared_task(name="workers.jobs.thumbnail", throws=(InputError,))
def thumbnail(path: str, output: str | None, size: int) -> str | None:
    """Write the thumbnail of one picture; a later attempt leaves one that is there already.

    Args:
        path: the picture, below an input root.
        output: as that of :func:`thumbnails`.
        size: longest side, in pixels.

    Returns:
        Name of the thumbnail's file; None for a picture that cannot be read, which is logged.

    Raises:
        InputError: the thumbnail cannot be written.
        JobCancelled: somebody cancelled the job.
    """
    job.raise_if_cancelled()
    _check_size(size)
    folder = _target(output).inner("thumbnails")
    changed = input_changed(path)
    # The suffix stays in the name, since a.jpg and a.png are two pictures.
    name = f"{PurePath(path).name}.webp"
    # A file of that name is whole.
    if is_later_attempt() and folder.inner(name).is_newer_than(changed):
        return name
    try:
        image = small(partial(open_input, path), size)
    except UnreadablePicture as error:
        job.log(f"skipped {shown(PurePath(path).name)}: {error}", level="WARNING")
        return None
    with folder.inner(name).written_whole() as file:
        image.save(file, "WEBP")
    return name


@shared_task(name="workers.jobs.contact_sheet", throws=(InputError,))
def contact_sheet(names: list[str | None], output: str | None, size: int) -> SheetInfo:
    """Write the contact sheet, the last task of :func:`thumbnails`.

    Args:
        names: what :func:`thumbnail` returned for each picture.
        output: as that of :func:`thumbnails`.
        size: longest side of a thumbnail, in pixels; less on the sheet if there are many.

    Returns:
        How many ``pictures`` there were, ``thumbnails`` made and pictures ``skipped``, the path
        of the ``output`` and of the ``contact_sheet``.

    Raises:
        InputError: none of the pictures could be read, or the sheet cannot be written.
        JobCancelled: somebody cancelled the job.
    """
    _check_size(size)
    if not isinstance(names, list):
        raise InputError("The names must be a list of names of thumbnails: correct it.")
    made = [name for name in names if name is not None]
    if not made:
        text = f"None of the {len(names)} pictures can be read, as the log tells: replace them."
        raise InputError(text)
    folder = _target(output)
    cell = cell_size(len(made), size)
    files = [folder.inner("thumbnails").inner(name) for name in made]
    target = folder.inner("contact-sheet.jpg")
    sheet = tiled(_readable(files, cell), len(made), cell)
    with target.written_whole() as file:
        sheet.save(file, "JPEG")
    return {
        "pictures": len(names),
        "thumbnails": len(made),
        "skipped": len(names) - len(made),
        "output": shown(folder.path),
        "contact_sheet": shown(target.path),
    }


def _readable(files: list[Output], cell: int) -> Iterator[Image.Image]:
    for file in progress(files, desc="contact sheet", unit="picture"):
        try:
            yield small(file.open, cell)
        except UnreadablePicture as error:
            job.log(f"left {shown(file.path.name)} out: {error}", level="WARNING")
