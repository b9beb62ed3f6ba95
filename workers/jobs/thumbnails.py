"""Thumbnails of a folder of pictures, one task a picture, and a contact sheet at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import chord, shared_task
from PIL import Image

from bridge import job, progress
from bridge.errors import InputError
from workers.files import existing_folder, made_folder, shown, written_whole
from workers.pictures import UnreadablePicture, cell_size, pictures, small, tiled

__all__ = ["contact_sheet", "thumbnail", "thumbnails", "thumbnails_canvas"]

#: Largest side of a thumbnail, in pixels.
MAX_SIZE = 2048
#: Most pictures of one job: each is a task, and the result of each travels to the last one.
MAX_PICTURES = 10_000


@shared_task(name="workers.jobs.thumbnails", bind=True, throws=(InputError,))
def thumbnails(self: Any, folder: str, output: str, size: int = 256) -> Any:
    """Make a thumbnail of each picture in a folder, and a contact sheet of them all.

    A picture that cannot be read is logged and counted; the contact sheet has the rest.

    Args:
        folder: where the pictures are; folders in it are not looked into.
        output: folder for ``contact-sheet.jpg`` and ``thumbnails/``, made where missing.
        size: longest side of a thumbnail, in pixels.

    Returns:
        What :func:`contact_sheet` returns.

    Raises:
        InputError: the folder has no pictures or cannot be read, or the output not be written.
        JobCancelled: somebody cancelled the job; thumbnails made so far remain.
    """
    # The chord takes this task's place: its last task gets this one's id, and so its result
    # becomes the job's.
    return self.replace(thumbnails_canvas(folder, output, size))


def thumbnails_canvas(folder: str, output: str, size: int = 256) -> Any:
    """Return what :func:`thumbnails` does as a chord, to enqueue or to build upon.

    It looks at the folders where it is called, so they must be there too.

    Raises:
        InputError: as :func:`thumbnails`.
    """
    if not isinstance(size, int) or not 0 < size <= MAX_SIZE:
        raise InputError(f"The size must be a number of pixels from 1 to {MAX_SIZE}: correct it.")
    source = existing_folder(folder)
    files = pictures(source)
    if len(files) > MAX_PICTURES:
        text = f"There are more than {MAX_PICTURES} pictures in {shown(source)}: split it."
        raise InputError(text)
    target = made_folder(output)
    if target.samefile(source):
        raise InputError(
            f"The output is the folder of the pictures, {shown(source)}: choose another."
        )
    made_folder(str(target / "thumbnails"))
    header = [thumbnail.s(str(file), str(target), size) for file in files]
    return chord(header, contact_sheet.s(str(target), size))


@shared_task(name="workers.jobs.thumbnail", throws=(InputError,))
def thumbnail(path: str, output: str, size: int) -> str | None:
    """Write the thumbnail of one picture.

    Args:
        path: the picture.
        output: folder of the thumbnails' folder.
        size: longest side, in pixels.

    Returns:
        Name of the thumbnail's file; None for a picture that cannot be read, which is logged.

    Raises:
        InputError: the thumbnail cannot be written.
        JobCancelled: somebody cancelled the job.
    """
    job.raise_if_cancelled()
    picture = Path(path)
    try:
        image = small(picture, size)
    except UnreadablePicture as error:
        job.log(f"skipped {shown(picture.name)}: {error}", level="WARNING")
        return None
    # The whole name stays, since a.jpg and a.png are two pictures.
    name = f"{picture.name}.webp"
    with written_whole(made_folder(output) / "thumbnails" / name) as file:
        image.save(file, "WEBP")
    return name


@shared_task(name="workers.jobs.contact_sheet", throws=(InputError,))
def contact_sheet(names: list[str | None], output: str, size: int) -> dict[str, Any]:
    """Write the contact sheet, the last task of :func:`thumbnails`.

    Args:
        names: what :func:`thumbnail` returned for each picture.
        output: folder for the contact sheet.
        size: longest side of a thumbnail, in pixels; less on the sheet if there are many.

    Returns:
        How many ``pictures`` there were, ``thumbnails`` made and pictures ``skipped``, the path
        of the ``output`` and of the ``contact_sheet``.

    Raises:
        InputError: none of the pictures could be read, or the sheet cannot be written.
        JobCancelled: somebody cancelled the job.
    """
    made = [name for name in names if name is not None]
    if not made:
        text = f"None of the {len(names)} pictures can be read, as the log tells: replace them."
        raise InputError(text)
    folder = made_folder(output)
    cell = cell_size(len(made), size)
    files = [folder / "thumbnails" / name for name in made]
    sheet, path = tiled(_readable(files, cell), len(made), cell), folder / "contact-sheet.jpg"
    with written_whole(path) as file:
        sheet.save(file, "JPEG")
    return {
        "pictures": len(names),
        "thumbnails": len(made),
        "skipped": len(names) - len(made),
        "output": shown(folder),
        "contact_sheet": shown(path),
    }


def _readable(files: list[Path], cell: int) -> Iterator[Image.Image]:
    for file in progress(files, desc="contact sheet", unit="picture"):
        try:
            yield small(file, cell)
        except UnreadablePicture as error:
            job.log(f"left {shown(file.name)} out: {error}", level="WARNING")
