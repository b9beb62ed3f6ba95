"""Whatever a client gives the reference jobs: it changes, reads and learns nothing outside its own.

``FUZZ_EXAMPLES=100000`` runs it at length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bridge.errors import InputError
from bridge.reporting import current_job
from support.granted import JOB, granted
from workers.jobs.checksum import checksum
from workers.jobs.import_csv import import_csv
from workers.jobs.thumbnails import contact_sheet, thumbnail, thumbnails

JOBS = {job.name.rpartition(".")[2]: job for job in
        (checksum, import_csv, thumbnails, thumbnail, contact_sheet)}  # fmt: skip

#: In contents and names of what no job may read; not even an attacker knows it.
CANARY = "canary-6f1c"
#: Whatever reaches beyond the process and its files.
FORBIDDEN_EVENTS = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostby",
    "socket.sendto",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.symlink",
    "os.link",
    "ctypes.",
    "urllib.",
)
#: A folder that is there, in which there are things that an attacker knows of, and one that is not.
THERE, NOT_THERE = "there", "nowhr"

seen: list[tuple[str, tuple[Any, ...]]] = []
watching = False
#: Threads that earlier tests have left behind, and what they do is none of a job's doing.
others: frozenset[int | None] = frozenset()


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not watching or threading.get_ident() in others:
        return
    if event.startswith((*FORBIDDEN_EVENTS, "open", "sqlite3.connect")):
        seen.append((event, arguments))


class World:
    """An input root, and around it all that jobs must leave alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "files"
        self.output, self.home = self.root / "output", self.root / "home"
        self.own = self.output / "ada" / JOB
        self.outside = folder / THERE
        self.shared = folder / "shared.db"
        self._make()
        self.before = self.snapshot()

    def _make(self) -> None:
        bob = self.output / "bob" / JOB
        earlier = self.output / "ada" / JOB.replace("1", "2")
        for place in (self.outside, self.home, bob, earlier, self.home / "broker"):
            (place / f"{CANARY}-folder").mkdir(parents=True)
            for name in (f"{CANARY}.csv", "known.csv", "secret", f"{CANARY}-folder/known.csv"):
                (place / name).write_text(f"{CANARY},{place.name}\n1,{name}\n")
            with contextlib.closing(sqlite3.connect(place / "known.sqlite")) as database, database:
                database.execute(f'CREATE TABLE people ("{CANARY}")')
            Image.new("RGB", (4, 4), "red").save(place / "known.png")
        (self.root / "people.csv").write_text("name,age\nAda,36\n")
        (self.root / "pictures").mkdir()
        Image.new("RGB", (4, 4), "blue").save(self.root / "pictures" / "blue.png")
        links = {"out-dir": self.outside, "out.csv": self.outside / "known.csv",
                 "out.png": self.outside / "known.png", "home-dir": self.home, "loop": "loop",
                 "none": self.outside / "none", "in.csv": "people.csv", "bobs": bob}  # fmt: skip
        for name, target in links.items():
            (self.root / name).symlink_to(target)
            (self.root / "pictures" / name).symlink_to(target)
        (self.root / "hard.csv").hardlink_to(self.home / "secret")
        os.mkfifo(self.root / "pipe")
        with contextlib.closing(sqlite3.connect(self.shared)) as database, database:
            database.execute("CREATE TABLE orders (a)")
            database.execute(f'CREATE TABLE people ("{CANARY}")')

    def snapshot(self) -> dict[str, Any]:
        """Return what there is but for the job's own folder: state and content of each."""
        found: dict[str, Any] = {}
        for path in sorted(self.folder.rglob("*")):
            if path == self.shared or path.is_relative_to(self.own) or path == self.own.parent:
                continue
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            changed = status.st_mtime_ns if path != self.output else 0
            found[str(path)] = (status.st_mode, status.st_size, status.st_ino, changed, content)
        with contextlib.closing(sqlite3.connect(self.shared)) as database:
            lines = list(database.iterdump())
        found["shared"] = [line for line in lines if '"orders"' in line or '"people"' in line
                           or "orders (" in line or "people (" in line]  # fmt: skip
        return found

    def secrets(self) -> set[str]:
        """Return what no text may have in it: contents, and digests of them."""
        hidden = [one[4] for path, one in self.before.items()
                  if path != "shared" and one[4] and "/files/people" not in path
                  and "/files/pictures/" not in path]  # fmt: skip
        return {CANARY} | {hashlib.sha256(content).hexdigest() for content in hidden}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    sys.addaudithook(audit)
    world = World(tmp_path_factory.mktemp("world"))
    # Else the jobs run in an application of another test, which opens a result backend of its own.
    before, app = current_app._get_current_object(), Celery("fuzz", backend="disabled://")
    app.set_current()
    try:
        with granted(world.root, databases=f"shared=sqlite:///{world.shared}"):
            yield world
    finally:
        before.set_current()


#: Parts of paths. ``{root}`` and so on are the world's.
PIECES = st.sampled_from(
    [
        *("", ".", "..", "/", "~", "\0", "\n", "\udcff", "\ud800", "x" * 300, "%2e%2e", "\\", "-"),
        *("people.csv", "in.csv", "pictures", "blue.png", "output", "home", "ada", "bob", JOB),
        *("out-dir", "out.csv", "out.png", "home-dir", "loop", "none", "bobs", "hard.csv", "pipe"),
        *("known.csv", "known.png", "known.sqlite", "secret", "broker", "way", "hard", THERE),
        # Nothing of the machine itself: a job that got this wrong would overwrite it.
        *("{root}", "{outside}", "{home}", "{output}", "{own}", "/proc/self/root", "file:"),
    ]
)  # fmt: skip
PATHS = st.lists(PIECES, min_size=1, max_size=5).map("/".join) | st.lists(PIECES, max_size=3).map(
    "".join
)
DATABASES = st.sampled_from(
    [
        *("shared", "SHARED", "shared\0", "sqlite://", "sqlite:///:memory:"),
        *("sqlite:///{outside}/known.sqlite", "sqlite:///{home}/known.sqlite", "{home}"),
        *("sqlite:///file:{outside}/known.sqlite?uri=true", "postgresql://u:p@127.0.0.1:9/db"),
        *("mysql+pymysql://u@127.0.0.1:9/db", "shared'; ATTACH '{outside}/known.sqlite' AS x; --"),
    ]
)  # fmt: skip
TABLES = st.sampled_from(
    ["people", "orders", "PEOPLE", "taskbridge_tables", "sqlite_master", "mine", "main.orders",
     'x"; DROP TABLE orders; --', "x" * 64, "orders\0", " orders"]
)  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
FILES = st.sampled_from(["people.csv", "in.csv", "{root}/people.csv", "out.csv", "hard.csv"])
FOLDERS = st.sampled_from([".", "{root}", "pictures", "out-dir", "home", "output", "home-dir"])
PICTURES = st.sampled_from(["pictures/blue.png", "pictures/out.png", "{outside}/known.png"])
NAMES = st.sampled_from(["m", "a/m", "way/known.csv", "hard", "known.csv", "../../bob/x"])
OUTPUTS = st.none() | NAMES | PATHS | ODD


def calls(job: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(job), st.fixed_dictionaries({}, optional=arguments))


CALLS = st.one_of(
    calls("checksum", path=FOLDERS | PATHS | ODD, output=OUTPUTS),
    calls(
        "import_csv",
        path=FILES | PATHS | ODD,
        database=st.none() | st.just("shared") | DATABASES | PATHS | ODD,
        table=st.none() | TABLES | PATHS | ODD,
        batch=st.just(1000) | ODD,
        if_exists=st.sampled_from(["fail", "append", "replace"]) | ODD,
        url=st.none() | DATABASES,
    ),
    calls("thumbnails", folder=FOLDERS | PATHS | ODD, output=OUTPUTS, size=st.just(8) | ODD),
    calls("thumbnail", path=PICTURES | PATHS | ODD, output=OUTPUTS, size=st.just(8) | ODD),
    calls(
        "contact_sheet",
        names=st.lists(NAMES | PATHS | ODD, max_size=3) | ODD,
        output=OUTPUTS,
        size=st.just(8) | ODD,
    ),
).filter(lambda call: len(call[1]) >= 1)
REQUIRED = {"checksum": {"path": "."}, "import_csv": {"path": "people.csv"},
            "thumbnails": {"folder": "pictures"},
            "thumbnail": {"path": "pictures/blue.png", "output": None, "size": 8},
            "contact_sheet": {"names": ["blue.png.webp"], "output": None, "size": 8}}  # fmt: skip


def filled(value: Any, world: World, outside: str) -> Any:
    """Return arguments with the world's paths in them."""
    if isinstance(value, str):
        for name in ("root", "home", "output", "own"):
            value = value.replace(f"{{{name}}}", str(getattr(world, name)))
        return value.replace("{outside}", outside)
    if isinstance(value, list):
        return [filled(one, world, outside) for one in value]
    if isinstance(value, dict):
        return {filled(k, world, outside): filled(v, world, outside) for k, v in value.items()}
    return value


def run(job: str, given: dict[str, Any], world: World, outside: str) -> str:
    """Run a job, and return all that its client gets to see."""
    global watching, others
    kwargs = {**REQUIRED[job], **filled(given, world, outside)}
    shutil.rmtree(world.own.parent / JOB, ignore_errors=True)
    world.own.mkdir(parents=True)
    # What an earlier job or another program may have left there.
    (world.own / "way").symlink_to(world.outside)
    (world.own / "hard").hardlink_to(world.outside / "known.csv")
    place = current_job.here()
    assert place
    lines = place[1].lines  # type: ignore[union-attr]
    lines.clear()
    seen.clear()
    others = frozenset(one.ident for one in threading.enumerate()) - {threading.get_ident()}
    watching = True
    try:
        done = JOBS[job].apply(kwargs=kwargs)
    finally:
        watching = False
    if isinstance(done.result, BaseException):
        assert isinstance(done.result, InputError), done.traceback
        assert "\n" not in str(done.result)
    told = [repr(done.result), *(f"{text!r}" for _, _, text, _ in lines)]
    return "\n".join(told)


def written(world: World) -> Iterator[bytes]:
    """Yield what a job wrote: not what was planted there, unless it was replaced."""
    for path in world.own.rglob("*"):
        planted = path.is_symlink() or (
            path.name == "hard" and path.samefile(world.outside / "known.csv")
        )
        if path.is_file() and not planted:
            yield path.read_bytes()


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "250")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(call=CALLS)
def test_no_argument_of_a_job_reaches_what_is_not_its_own(world: World, call: Any) -> None:
    job, given_arguments = call
    told = run(job, given_arguments, world, str(world.outside))
    events, files = list(seen), list(written(world))
    assert world.snapshot() == world.before
    for event, arguments in events:
        assert not event.startswith(FORBIDDEN_EVENTS), (event, arguments)
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
        assert not path.startswith((str(world.outside), str(world.home))), (event, path)
        if event == "sqlite3.connect":
            assert path.startswith(str(world.own)) or path == str(world.shared)
    for secret in world.secrets():
        assert secret not in told
        assert not any(secret.encode() in content for content in files)
    # And whether something is there is not learned either.
    if "{outside}" in json.dumps(given_arguments):
        elsewhere = run(job, given_arguments, world, str(world.folder / NOT_THERE))
        assert elsewhere.replace(NOT_THERE, THERE) == told


def test_the_arguments_of_honest_clients_succeed(world: World) -> None:
    for job in ("checksum", "import_csv", "thumbnails", "thumbnail"):
        assert "InputError" not in run(job, {}, world, ""), job
    assert "InputError" not in run("checksum", {"output": "m"}, world, "")
    assert len(list(written(world))) == 1
    mine = {"database": "shared", "table": "mine", "if_exists": "replace"}
    assert "'rows': 1" in run("import_csv", mine, world, "")
