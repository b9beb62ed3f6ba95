"""Where the reference jobs may read and write: nowhere else, however a path is written."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import workers.files.inputs
from bridge.errors import InputError
from support.granted import JOB, granted
from support.reporting import recorded_lines
from workers.files.inputs import input_file, input_folder
from workers.files.outputs import job_output
from workers.files.tree import Tree
from workers.jobs.checksum import checksum

SECRET = "a secret that no job may read"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An input root with a file, and TASKBRIDGE_HOME in it."""
    root = tmp_path / "root"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "file").write_text("text")
    (root / "home").mkdir()
    (root / "home" / "secret").write_text(SECRET)
    return root


@pytest.fixture(autouse=True)
def own(root: Path) -> Iterator[Path]:
    """The folder of the job that runs."""
    with granted(root) as own:
        yield own


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is not below a root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    return outside


def answer(path: str) -> str:
    """What a job says that is to read a file or a folder, without the path itself."""
    found = set()
    for read, kind in ((input_file, "file"), (input_folder, "folder")):
        with pytest.raises(InputError) as error:
            read(path)
        found.add(str(error.value).replace(path, "…").replace(f" {kind} ", " thing "))
    (sentence,) = found
    return sentence


@pytest.mark.parametrize(
    "path",
    ["folder/file", "./folder//file", "folder/inner/../file", "{root}/folder/file",
     "//{root}//folder/file"],
)  # fmt: skip
def test_a_path_is_relative_to_a_root_or_absolute_and_below_one(root: Path, path: str) -> None:
    with input_file(path.format(root=str(root).lstrip("/") if "//{" in path else root)).open() as f:
        assert f.read() == b"text"


def test_a_root_may_itself_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    with granted(link):
        for path in ("folder/file", f"{link}/folder/file", f"{root}/folder/file"):
            input_file(path)


def test_what_is_outside_and_what_is_not_there_get_the_same_answer(
    root: Path, outside: Path
) -> None:
    (root / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "secret")
    (root / "home-link").symlink_to(root / "home")
    (root / "hard").hardlink_to(root / "home" / "secret")
    (root / "output" / "bob").mkdir(parents=True)
    (root / "output" / "bob" / "manifest").write_text(SECRET)
    (root / "folder" / ".taskbridge").mkdir()
    (root / "folder" / ".taskbridge" / "secret").write_text(SECRET)
    sentence = answer("missing")
    assert "check the path" in sentence
    for path in (
        *("/", "/etc/passwd", "/etc/none", "//etc/passwd", "/proc/self/environ", "/dev/zero"),
        *(str(outside), f"{outside}/secret", f"{outside}/none", "../outside/secret", ".."),
        *(f"{outside}/../../../../etc/passwd", f"{root}/../outside/secret", "folder/../../outside"),
        *("link", "link/secret", "link/none", "file-link", "home-link", "home-link/secret"),
        *("home", "home/secret", "home/none", f"{root}/home/secret", "hard", "folder/.taskbridge"),
        *("folder/.taskbridge/secret", "output", "output/bob", "output/bob/manifest"),
        *("~", "~root/x", "$HOME", "folder/file/below", "/proc/self/fd/0", "/proc/self/cwd"),
    ):
        assert answer(path) == sentence, path


def test_a_path_outside_is_not_even_looked_at(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the way of `/mnt/x/../../data` would tell whether there is an x."""
    input_folder(f"{outside}/none/../../root/folder")
    seen: list[str] = []
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **more: seen.append(path) or real(path, **more))
    answer(f"{outside}/secret")
    assert not [path for path in seen if str(outside) in str(path)]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFCHR, 0x0105)])
def test_a_pipe_or_a_device_is_not_opened(root: Path, make, monkeypatch) -> None:
    try:
        make(root / "thing")
    except PermissionError:
        pytest.skip("this user may make no device")
    monkeypatch.setattr(os, "fdopen", None)
    with pytest.raises(InputError, match="thing is not a regular file"):
        input_file("thing")


def swapped(root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Once a path was resolved, put a link to ``outside`` into the place of ``name``."""
    real = Tree.resolve

    def resolve(tree: Tree, parts: tuple[str, ...]) -> tuple[str, ...]:
        found = real(tree, parts)
        path = root / name
        if not path.is_symlink():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            path.symlink_to(outside if name != "folder/file" else outside / "file")
        return found

    monkeypatch.setattr(Tree, "resolve", resolve)


@pytest.mark.parametrize("name", ["folder", "folder/file"])
def test_a_link_that_is_put_in_place_after_the_check_is_not_followed(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (outside / "file").write_text(SECRET)
    swapped(root, outside, monkeypatch, name)
    with pytest.raises(InputError):
        input_file("folder/file")


def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_followed(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = workers.files.inputs.Input.open

    def opened(source: workers.files.inputs.Input):
        shutil.rmtree(root / "folder")
        (outside / "file").write_text(SECRET)
        (root / "folder").symlink_to(outside)
        return real(source)

    monkeypatch.setattr(workers.files.inputs.Input, "open", opened)
    assert (checksum("folder")["files"], checksum.__name__) == (0, "checksum")


def test_links_that_lead_out_are_skipped_counted_and_not_followed(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    for name, target in {"a": "secret", "b": "none", "c": "."}.items():
        (root / "folder" / name).symlink_to(outside / target)
    (root / "folder" / "d").symlink_to("file")
    result = checksum(".")
    assert (result["files"], result["skipped"], result["unreadable"]) == (2, 3, 0)
    assert sorted(lines) == [
        ("WARNING", f"skipped folder/{name}: it leads out of the input root") for name in "abc"
    ]


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "//x", "../x", "a/../../x", "a/..", "..", ".", "", "/", "\0", "\ud800", 7, None,
     ["x"]],
)  # fmt: skip
def test_an_output_that_leads_out_of_the_jobs_folder_is_refused(root: Path, name: object) -> None:
    with pytest.raises(InputError) as error:
        job_output().inner(name)
    assert str(error.value).endswith(
        ("give a relative name such as results/manifest, without '..'.", ": change it.")
    )


def test_a_link_in_an_output_folder_leads_no_job_out(root: Path, own: Path, outside: Path) -> None:
    own.mkdir(parents=True)
    (own / "way").symlink_to(outside)
    with pytest.raises(InputError, match="a file or a link is in the way"):
        checksum("folder", "way/secret")
    own.rmdir() if not any(own.iterdir()) else shutil.rmtree(own.parent)
    own.parent.symlink_to(outside)
    with pytest.raises(InputError, match="a file or a link is in the way"):
        checksum("folder", "secret")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == SECRET


def test_a_jobs_folder_is_for_the_workers_user_alone_and_the_same_for_each_attempt(
    root: Path, own: Path
) -> None:
    before = os.umask(0)
    try:
        assert checksum("folder", "a/b/manifest")["manifest"] == str(own / "a" / "b" / "manifest")
    finally:
        os.umask(before)
    made = [own.parent, own, own / "a", own / "a" / "b"]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}
    assert (own / "a" / "b" / "manifest").stat().st_mode & 0o777 == 0o600
    assert checksum("folder", "a/b/manifest")["manifest"] == str(own / "a" / "b" / "manifest")


def test_no_two_owners_or_jobs_have_the_same_folder(root: Path) -> None:
    long = "a" * 64
    owners = [
        *(None, "_", "", "ada", "Ada", "ADA", "ada ", " ada", "..", ".", "/", "a/b", "a\\b"),
        *("é", "e\u0301", "\0", "\n", "con", "broker", "x" * 255, "\ud800", "-", "ada.", long),
    ]  # fmt: skip
    import hashlib

    owners += [
        hashlib.sha256(str(one).encode("utf-8", "surrogatepass")).hexdigest() for one in owners
    ]
    folders = set()
    for owner in owners:
        with granted(root, owner=owner):
            output = job_output()
        assert output.path.parent.parent == root / "output"
        assert len(os.fsencode(output.path.parent.name)) <= 64
        folders.add(output.path.parent.name.casefold())
    assert len(folders) == len(owners)
    jobs = {JOB, "..", "../x", "/etc", "", "a", "A", JOB.upper()}
    names = set()
    for job in jobs:
        with granted(root, job=job):
            names.add(job_output().path.name)
    assert len(names) == len(jobs)
    assert not any("/" in name or name.startswith(".") for name in names)


def test_an_output_root_that_is_not_there_is_named_and_not_made(root: Path) -> None:
    shutil.rmtree(root / "output")
    with pytest.raises(InputError, match="TASKBRIDGE_OUTPUT_ROOT names is not there: make it"):
        checksum("folder", "manifest")
    assert not (root / "output").exists()
