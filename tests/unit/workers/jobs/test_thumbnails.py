"""The thumbnails job on real pictures, run eagerly, without a broker."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Ignore
from PIL import Image

import workers.files.pictures
import workers.jobs.thumbnails as module
from bridge import JobCancelled, job
from bridge.errors import InputError
from bridge.protocol.event import MAX_RESULT_BYTES, finite_json
from support.granted import granted
from support.reporting import recorded_bars, recorded_lines
from support.rights import no_rights, reachable_folder
from workers.jobs.thumbnails import contact_sheet, thumbnail, thumbnails, thumbnails_canvas


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three pictures and something else."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (400, 200), "red").save(folder / "red.jpg")
    Image.new("RGB", (100, 300), "lime").save(folder / "green.png")
    Image.new("RGB", (20, 10), "blue").save(folder / "BLUE.GIF")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "more").mkdir()
    return folder


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> Iterator[Path]:
    """The folder of the job that runs; it may read all that the test makes."""
    with granted(tmp_path) as own:
        yield own


@pytest.fixture
def output(own: Path) -> Path:
    """Where the job writes; not made yet."""
    return own / "out"


def run(folder: Path, output: Path, **options: Any) -> Any:
    """The whole job, here and now."""
    return thumbnails.apply((str(folder), output.name), options).get()


def picture(path: Path, size: int) -> Image.Image:
    """A small picture from a file."""
    return workers.files.pictures.small(lambda: path.open("rb"), size)


def refused(*args: Any, **kwargs: Any) -> str:
    """The sentence with which the job refuses."""
    with pytest.raises(InputError) as error:
        thumbnails_canvas(*args, **kwargs)
    return str(error.value)


def names(folder: Path) -> list[str]:
    """Names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header tells of more pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_the_names_of_the_tasks_are_the_public_ones() -> None:
    assert [task.name for task in (thumbnails, thumbnail, contact_sheet)] == [
        "workers.jobs.thumbnails",
        "workers.jobs.thumbnail",
        "workers.jobs.contact_sheet",
    ]


def test_every_picture_gets_a_thumbnail_and_a_place_on_the_contact_sheet(
    folder: Path, output: Path
) -> None:
    assert run(folder, output, size=100) == {
        "pictures": 3,
        "thumbnails": 3,
        "skipped": 0,
        "output": str(output),
        "contact_sheet": str(output / "contact-sheet.jpg"),
    }
    thumbs = ["BLUE.GIF.webp", "green.png.webp", "red.jpg.webp"]
    assert names(output) == ["contact-sheet.jpg", *(f"thumbnails/{name}" for name in thumbs)]
    sizes = []
    for name in thumbs:
        with Image.open(output / "thumbnails" / name) as thumb:
            sizes.append(thumb.size)
    assert sizes == [(20, 10), (33, 100), (100, 50)]
    with Image.open(output / "contact-sheet.jpg") as sheet:
        assert sheet.size == (200, 200)
        centres = [sheet.getpixel(place) for place in [(50, 50), (150, 50), (50, 150), (150, 150)]]
    assert [_colour(pixel) for pixel in centres] == ["blue", "lime", "red", "white"]


def _colour(pixel: Any) -> str:
    exact = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}
    return min(
        exact, key=lambda name: sum(abs(a - b) for a, b in zip(exact[name], pixel, strict=True))
    )


def test_the_canvas_is_the_same_job_to_build_upon(folder: Path) -> None:
    canvas = thumbnails_canvas(str(folder), "out", 64)
    assert [task.task for task in canvas.tasks] == ["workers.jobs.thumbnail"] * 3
    assert canvas.body.task == "workers.jobs.contact_sheet"
    assert canvas.apply().get()["thumbnails"] == 3


def test_on_a_worker_the_chord_takes_the_place_and_the_id_of_the_task(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(module.chord, "delay", lambda self: sent.append(self))
    thumbnails.push_request(id="the-job", root_id="the-job", called_directly=False)
    try:
        with pytest.raises(Ignore):
            thumbnails.run(str(folder), "out")
    finally:
        thumbnails.pop_request()
    (canvas,) = sent
    assert canvas.body.id == "the-job"
    assert canvas.options["root_id"] == "the-job"


def test_a_second_run_replaces_what_the_first_made(folder: Path, output: Path) -> None:
    assert run(folder, output) == run(folder, output)
    assert len(names(output)) == 4


def test_one_picture_is_enough(tmp_path: Path, output: Path) -> None:
    Image.new("L", (5, 5)).save(tmp_path / "one.png")
    assert run(tmp_path, output)["thumbnails"] == 1


def test_pictures_that_differ_in_their_ending_only_do_not_collide(
    tmp_path: Path, output: Path
) -> None:
    for ending in ("png", "jpg", "png.webp"):
        Image.new("RGB", (5, 5)).save(tmp_path / f"a.{ending}")
    run(tmp_path, output)
    assert len(names(output / "thumbnails")) == 3


def damaged() -> dict[str, bytes]:
    """Files that are not what their names say, each in its own way."""
    picture = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(picture, "PNG")
    return {
        "empty.png": b"",
        "text.jpg": b"this is not a picture",
        "cut.png": picture.getvalue()[: len(picture.getvalue()) // 2],
        "script.gif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


def test_damaged_pictures_are_logged_by_name_and_the_rest_goes_on(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    for name, data in damaged().items():
        (folder / name).write_bytes(data)
    result = run(folder, output)
    assert (result["pictures"], result["thumbnails"], result["skipped"]) == (7, 3, 4)
    assert sorted(lines) == [
        ("WARNING", "skipped cut.png: it is damaged (image file is truncated)"),
        ("WARNING", "skipped empty.png: it is not a picture"),
        ("WARNING", "skipped script.gif: it is not a picture"),
        ("WARNING", "skipped text.jpg: it is not a picture"),
    ]
    assert len(names(output)) == 4


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 20_000, 2**31 - 1])
def test_a_small_file_that_unpacks_to_a_huge_picture_is_left_out(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    lines = recorded_lines(monkeypatch)
    (folder / "bomb.png").write_bytes(png_that_claims(side, side))
    assert run(folder, output)["skipped"] == 1
    assert lines[0][1].startswith("skipped bomb.png: it has ")
    assert "pixels" in lines[0][1]


def test_a_picture_without_rights_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded_lines(monkeypatch)
    with reachable_folder() as folder:
        shut = folder / "shut.png"
        Image.new("RGB", (5, 5)).save(shut)
        with granted(folder), no_rights(shut):
            assert thumbnail(str(shut), None, 10) is None
    assert lines == [("WARNING", "skipped shut.png: Permission denied")]


def test_a_picture_that_vanished_or_became_a_pipe_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert thumbnail(str(tmp_path / "pipe.png"), None, 10) is None
    assert thumbnail(str(tmp_path / "gone.png"), None, 10) is None


def test_a_folder_with_nothing_but_damaged_pictures_fails_clearly(
    tmp_path: Path, output: Path
) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match="None of the 1 pictures can be read, as the log tells"):
        run(tmp_path, output)
    assert names(output) == []


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_put_upright(
    tmp_path: Path, ending: str, orientation: int
) -> None:
    upright = Image.new("RGB", (60, 40), "white")
    upright.paste("red", (0, 0, 30, 20))
    lie = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    turned = upright.transpose(Image.Transpose(lie[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / f"a.{ending}", exif=exif)
    small = picture(tmp_path / f"a.{ending}", 30)
    assert small.size == (30, 20)
    corners = [_colour(small.getpixel(place)) for place in [(5, 5), (25, 5), (5, 15), (25, 15)]]
    assert corners == ["red", "white", "white", "white"]


def test_transparency_stays_in_the_thumbnail_and_is_white_on_the_sheet(
    tmp_path: Path, output: Path
) -> None:
    Image.new("RGBA", (50, 50), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    run(tmp_path, output)
    with Image.open(output / "thumbnails" / "clear.png.webp") as thumb:
        assert thumb.mode == "RGBA"
    with Image.open(output / "contact-sheet.jpg") as sheet:
        assert sheet.getpixel((128, 128)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_pictures_of_every_mode_keep_their_brightness(tmp_path: Path, mode: str) -> None:
    grey = 128 * 256 if mode == "I;16" else 0
    image = Image.new("I;16", (9, 9), grey) if grey else Image.new("L", (9, 9), 128).convert(mode)
    image.save(tmp_path / "a.png")
    small = picture(tmp_path / "a.png", 9)
    assert small.mode in ("RGB", "RGBA")
    if mode != "1":
        assert abs(small.getpixel((4, 4))[0] - 128) < 4


def test_a_jpeg_for_print_is_understood(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 9), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert _colour(picture(tmp_path / "a.jpg", 9).getpixel((4, 4))) == "red"


def test_a_contact_sheet_of_many_pictures_stays_small() -> None:
    assert workers.files.pictures.cell_size(3, 256) == 256
    cell = workers.files.pictures.cell_size(10_000, 256)
    sheet = workers.files.pictures.tiled([], 10_000, cell)
    assert sheet.width <= 4096
    assert sheet.height <= 4096


def test_the_bar_of_the_contact_sheet_counts_the_pictures(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = recorded_bars(monkeypatch, module)
    run(folder, output)
    assert [(bar.desc, bar.unit, bar.n, bar.total) for bar in bars] == [
        ("contact sheet", "picture", 3, 3)
    ]


def test_a_thumbnail_that_vanished_before_the_contact_sheet_is_left_out(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, output)
    lines = recorded_lines(monkeypatch)
    (output / "thumbnails" / "red.jpg.webp").unlink()
    contact_sheet(["green.png.webp", "red.jpg.webp"], "out", 64)
    assert lines == [("WARNING", "left red.jpg.webp out: No such file or directory")]


def test_a_cancelled_contact_sheet_leaves_the_old_one(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, output)
    before = (output / "contact-sheet.jpg").read_bytes()
    recorded_bars(monkeypatch, module, cancel_at=2)
    with pytest.raises(JobCancelled):
        contact_sheet(["green.png.webp", "red.jpg.webp"], "out", 64)
    assert (output / "contact-sheet.jpg").read_bytes() == before
    assert len(names(output)) == 4


def test_a_cancelled_job_makes_no_more_thumbnails(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled() -> None:
        raise JobCancelled

    monkeypatch.setattr(job, "raise_if_cancelled", cancelled)
    with pytest.raises(JobCancelled):
        thumbnail(str(folder / "red.jpg"), "out", 64)
    assert not output.exists()


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(
    folder: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot be written .No space left on device."):
        thumbnail(str(folder / "red.jpg"), "out", 64)
    assert names(output) == []


def test_the_result_is_small_json(folder: Path, output: Path) -> None:
    assert len(finite_json(run(folder, output))) < MAX_RESULT_BYTES


def test_a_missing_folder_is_named(tmp_path: Path, output: Path) -> None:
    missing = tmp_path / "missing"
    assert refused(str(missing)) == (
        f"There is no folder {missing} below the input roots of this worker "
        "(TASKBRIDGE_INPUT_ROOTS): check the path."
    )
    assert not output.exists()


def test_a_file_instead_of_a_folder_is_named(folder: Path) -> None:
    assert "red.jpg is not a folder" in refused(str(folder / "red.jpg"))


def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    with reachable_folder() as above:
        (above / "shut").mkdir()
        with granted(above), no_rights(above / "shut"):
            sentence = refused(str(above / "shut"))
    assert "The worker may not read the folder" in sentence


def test_a_folder_without_pictures_is_named(tmp_path: Path, output: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert f"There are no pictures in {tmp_path}: choose a" in refused(str(tmp_path))
    assert not output.exists()


def test_too_many_pictures_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PICTURES", 2)
    assert "There are more than 2 pictures in" in refused(str(folder))


def test_an_output_that_cannot_be_made_is_named(folder: Path, own: Path) -> None:
    own.mkdir(parents=True)
    (own / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(InputError, match="a file or a link is in the way"):
            thumbnails.run(str(folder), name)


def test_an_output_without_rights_is_named() -> None:
    with reachable_folder() as folder, granted(folder):
        Image.new("RGB", (5, 5)).save(folder / "a.png")
        with no_rights(folder / "output"):
            for name in (None, "below"):
                with pytest.raises(InputError) as error:
                    thumbnails.run(str(folder), name)
                sentence = "cannot be written (Permission denied): choose another output"
                assert sentence in str(error.value)


def test_without_an_output_the_jobs_folder_is_it(folder: Path, own: Path) -> None:
    assert thumbnails.apply((str(folder),)).get()["output"] == str(own)
    assert len(names(own)) == 4


def test_a_link_to_a_picture_outside_is_skipped_and_counted_and_one_inside_is_not(
    folder: Path, output: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    Image.new("RGB", (5, 5)).save(outside / "secret.png")
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "none.png").symlink_to(outside / "none.png")
    (folder / "in.png").symlink_to("red.jpg")
    assert run(folder, output)["skipped"] == 2
    thumbs = sorted(path.name for path in (output / "thumbnails").iterdir())
    assert thumbs == ["BLUE.GIF.webp", "green.png.webp", "in.png.webp", "red.jpg.webp"]


@pytest.mark.parametrize("size", [0, -1, 2049, "large", 1.5, None])
def test_a_size_that_cannot_be_is_one_clear_sentence(folder: Path, size: object) -> None:
    sentence = refused(str(folder), None, size)
    assert sentence == "The size must be a number of pixels from 1 to 2048: correct it."


def attempt(path: Path, output: Path, retries: int) -> float:
    """Make a thumbnail in an attempt; return when its file was written."""
    name = thumbnail.apply((str(path), output.name, 100), retries=retries).get()
    return (output / "thumbnails" / name).stat().st_mtime_ns


def test_a_later_attempt_makes_no_thumbnail_that_is_there(folder: Path, output: Path) -> None:
    made = attempt(folder / "red.jpg", output, 0)
    assert attempt(folder / "red.jpg", output, 1) == made
    assert attempt(folder / "red.jpg", output, 0) > made  # another task of the job may ask for it
    made = attempt(folder / "red.jpg", output, 1)
    later = made / 1e9 + 1
    os.utime(folder / "red.jpg", (later, later))
    assert attempt(folder / "red.jpg", output, 1) > made
    assert attempt(folder / "green.png", output, 1)
