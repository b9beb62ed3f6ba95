"""Tasks for the tests, loaded by their workers through TASKBRIDGE_INCLUDE."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import Task, chain, chord, group, shared_task, signals
from celery.utils.log import get_task_logger
from rich.progress import track
from tqdm.auto import tqdm

from bridge import Bridge, JobCancelled, job, progress
from support.poison import nested

task_logger = get_task_logger(__name__)


def _await(file: str | None) -> None:
    """Wait until there is the file; None is there already."""
    while file and not Path(file).exists():
        time.sleep(0.05)


@shared_task(name="support.add")
def add(x: int, y: int) -> int:
    return x + y


@shared_task(name="support.noted", bind=True)
def noted(self: Task) -> None:
    """Note its parent in the worker's log."""
    task_logger.warning("child of %s", self.request.parent_id)


@shared_task(name="support.dies_uncounted", bind=True)
def dies_uncounted(self: Task, file: str, whom: str, claims: bool) -> int:
    """End; kill its process or its worker, the first time, once its result is stored.

    Args:
        file: made by then.
        whom: ``process`` or ``worker``.
        claims: whether it has claimed by then to publish the body of its chord.
    """

    def die(*_: object, **__: object) -> None:
        Path(file).touch()
        os.kill(os.getppid() if whom == "worker" else os.getpid(), signal.SIGKILL)
        os._exit(1)

    counted = self.backend.get_key_for_group(self.request.group, ".d")
    while claims and not self.backend.client.scard(counted):
        time.sleep(0.05)  # the last one that is counted claims
    if not Path(file).exists():
        setattr(
            self.backend, "_chord_publish_claim_expires" if claims else "on_chord_part_return", die
        )
    return 1


@shared_task(name="support.note_once")
def note_once(numbers: list[int], file: str) -> int:
    """Write a line to a file; return the sum of some numbers."""
    with Path(file).open("a") as lines:
        lines.write("ran\n")
    return sum(numbers)


@shared_task(name="support.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task(name="support.talk")
def talk(lines: int) -> int:
    for number in progress(range(lines), desc="lines"):
        job.log(f"line {number}")
        job.output(f"{number}\n")
    return lines


@shared_task(name="support.narrate")
def narrate(seconds: float) -> str:
    """Move a bar for some seconds, and say something twice a second."""
    for step in progress(range(int(seconds * 2)), desc="story", unit="line"):
        job.log(f"line {step}")
        time.sleep(0.5)
    return "done"


@shared_task(name="support.work")
def work(seconds: float, cleanup: str | None = None) -> str:
    """Move a bar for some seconds; write a file in ``finally``."""
    try:
        for _ in progress(range(int(seconds * 100)), desc="work"):
            time.sleep(0.01)
    finally:
        if cleanup:
            Path(cleanup).write_text("cleaned up")
    return "done"


@shared_task(name="support.wander")
def wander(seconds: float, folder: str, cleanup: str) -> str:
    """Move to another folder, and move a bar there."""
    os.chdir(folder)
    return str(work(seconds, cleanup))


@shared_task(name="support.stuck")
def stuck(seconds: float) -> None:
    """Never look at the job or a bar, so that only a signal ends it."""
    time.sleep(seconds)


def _sleep_long(seconds: float, file: str | None) -> str:
    job.set_meta(pid=os.getpid())
    try:
        time.sleep(seconds)
    finally:
        if file:
            with Path(file).open("a") as lines:
                lines.write("cleaned up\n")
    return "done"


@shared_task(name="support.linger")
def linger(seconds: float, file: str | None = None) -> str:
    """Tell the process's id, sleep, and add a line to a file in ``finally``."""
    return _sleep_long(seconds, file)


@shared_task(name="support.held")
def held(file: str) -> str:
    """Tell the process's id, and never look at the job, until there is such a file."""
    job.set_meta(pid=os.getpid())
    _await(file)
    return "done"


@shared_task(name="support.retry_held", bind=True)
def retry_held(self, file: str) -> str:  # type: ignore[no-untyped-def]
    """Do the same, and then be tried again, once."""
    held(file)
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return "done"


@shared_task(name="support.overtaken", bind=True)
def overtaken(self, file: str) -> None:  # type: ignore[no-untyped-def]
    """Be tried again, once, and not go on before the next attempt has failed; then make a file."""
    if self.request.retries:
        raise ValueError("not at all")

    def wait(**_: Any) -> None:
        end = time.monotonic() + 30
        while not self.AsyncResult(self.request.id).failed() and time.monotonic() < end:
            time.sleep(0.05)

    def goes_on(**_: Any) -> None:
        Path(file).touch()

    signals.after_task_publish.connect(wait, weak=False, dispatch_uid="overtaken")
    signals.task_retry.connect(goes_on, weak=False, dispatch_uid="overtaken")
    raise self.retry(exc=ValueError("not yet"), countdown=0)


class Lingering(Task):
    """A task whose process stays in what is called after its end."""

    def on_retry(self, *_: Any) -> None:
        """Stay."""
        time.sleep(60)

    def after_return(self, *_: Any) -> None:
        """Stay, after the first attempt."""
        if self.request.retries == 0:
            time.sleep(60)


@shared_task(name="support.end_late", bind=True, base=Lingering)
def end_late(self, end: str) -> str:  # type: ignore[no-untyped-def]
    """End at once, ``succeed``, ``fail`` or ``retry``, in a process that goes on."""
    if self.request.retries == 0 and end == "retry":
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    if end == "fail":
        raise ValueError("as it was told to")
    return "done"


class Talking(Task):
    """A task whose handlers around its body report, too."""

    def before_start(self, *_: Any) -> None:
        """Say so."""
        job.log("before")

    def on_success(self, *_: Any) -> None:
        """Move the bar of the body, and say so."""
        self.bar.update(1)
        job.log("afterwards")


@shared_task(name="support.saved", base=Talking, bind=True)
def saved(self) -> str:  # type: ignore[no-untyped-def]
    """Count until the job is cancelled, and then return what there is."""
    job.set_meta(pid=os.getpid())
    self.bar = progress(total=6000, desc="saved")
    with suppress(JobCancelled):
        while self.bar.n < 6000:
            time.sleep(0.01)
            self.bar.update(1)
    return "saved"


@shared_task(name="support.careless", autoretry_for=(Exception,), default_retry_delay=0)
def careless(file: str) -> None:
    """Take each error that can be caught for a bad row, and leave a file then."""
    for row in progress(range(6000), desc="rows"):
        try:
            time.sleep(0.01)
            job.log(f"row {row}")
        except Exception:  # noqa: BLE001 - that is what it is careless in
            Path(file).touch()


@shared_task(name="support.linger_early", acks_late=False)
def linger_early(seconds: float, file: str | None = None) -> str:
    """Do the same, acknowledged when it begins."""
    return _sleep_long(seconds, file)


@shared_task(name="support.linger_once", max_retries=0)
def linger_once(seconds: float, file: str | None = None) -> str:
    """Do the same, never tried again."""
    return _sleep_long(seconds, file)


@shared_task(name="support.hog")
def hog(seconds: int) -> str:
    """Hold the GIL, so that nothing else in the process runs, as a bad C extension does."""
    job.log("before")
    time.sleep(0.5)
    ctypes.PyDLL(None).sleep(seconds)
    job.log("after")
    return "done"


@shared_task(name="support.later", bind=True)
def later(self, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """Always be tried again after so many seconds."""
    raise self.retry(exc=ValueError("not yet"), countdown=seconds)


@shared_task(name="support.die")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="support.fail")
def fail() -> None:
    raise ValueError("this was bound to fail")


@shared_task(name="support.mended")
def mended(folder: str, number: int) -> None:
    """Fail until there is a file ``mended``; then make a file for each run."""
    if not Path(folder, "mended").exists():
        raise ValueError("not mended yet")
    Path(folder, f"run-{number}-{uuid.uuid4().hex}").touch()


@shared_task(name="support.look_up")
def look_up() -> None:
    """Tell a small number, and fail with an exception whose text is no sentence."""
    job.set_meta(rate=0.001)
    raise KeyError("customer_id")


@shared_task(name="support.retry_once", bind=True)
def retry_once(self) -> int:  # type: ignore[no-untyped-def]
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("not yet"), countdown=0.2, max_retries=3)
    return self.request.retries


@shared_task(name="support.spawn")
def spawn() -> None:
    add.delay(2, 2)


@shared_task(name="support.unjsonable")
def unjsonable() -> float:
    return float("nan")


@shared_task(name="support.show")
def show(name: str, steps: int = 20) -> str:
    """Report in every way there is, most of them without taskbridge's help."""
    library = logging.getLogger("a.library")
    job.set_meta(name=name, step=0)
    for number in progress(range(steps), desc=f"{name} bar"):
        job.log(f"{name} line {number}")
        job.output(f"{name} text {number}\n")
        job.output(f"{name} bytes {number}\n".encode())
        library.info("%s record %s", name, number)
        for _ in tqdm(range(3), desc=f"{name} tqdm", leave=False):
            time.sleep(0.01)
        job.set_meta(step=number)
    for _ in track(range(20), description=f"[bold]{name}[/] rich"):
        time.sleep(0.01)
    return name


@shared_task(name="support.fork")
def fork(children: int, lines: int, begin: str | None = None) -> int:
    """Say something, fork, and let the children speak."""
    _await(begin)
    job.log("parent")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_say, args=(number, lines)) for number in range(children)]
    # Celery's children are daemons, which multiprocessing would not let have children of theirs.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return children * lines


def _say(child: int, lines: int) -> None:
    for number in progress(range(lines), desc=f"child {child}"):
        job.log(f"{child} {number}")


@shared_task(name="support.flood")
def flood(lines: int) -> int:
    """Log as fast as it goes; return the process's peak memory while it did, in bytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(lines):
        job.log(f"line {number}")
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@shared_task(name="support.libraries")
def libraries(size: int, begin: str | None = None) -> None:
    """Use libraries that draw bars, as their manuals say."""
    _await(begin)
    import pandas
    from tqdm.contrib.concurrent import thread_map

    tqdm.pandas(desc="pandas")
    frame = pandas.DataFrame({"a": range(size)})
    frame["a"].progress_apply(_linger)
    thread_map(_linger, range(size), desc="thread_map", max_workers=2)
    thread_map(_linger, range(size), desc="tqdm_class", max_workers=2, tqdm_class=progress)
    for number in track(range(size), description="track"):
        _linger(number)


def _linger(value: int) -> int:
    time.sleep(0.01)
    return value


@shared_task(name="support.slow")
def slow(seconds: float) -> str:
    """Move one bar, ten steps a second."""
    for _ in progress(range(round(seconds * 10)), desc="slow"):
        time.sleep(0.1)
    return "done"


@shared_task(name="support.steps", bind=True)
def steps(self: Task, rows: int, file: str | None = None, begin: str | None = None) -> None:
    """Fail in a step and be tried again, once; then go through nested steps, wait, and fail."""
    _await(begin)
    with job.step("download"):
        job.log("in download")
        if self.request.retries == 0:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        for number in progress(range(rows), desc="rows"):
            with job.step(f"row {number}"):
                pass
    with job.step("check"):
        job.output("in check\n")
        job.step("left open").__enter__()
        _await(file)
        raise ValueError("not at all")


@shared_task(name="support.prints", taskbridge_capture=("stdout",))
def prints(begin: str | None = None) -> None:
    """Print, log and draw a bar; only what is printed is captured."""
    _await(begin)
    print("hello\nworld")  # noqa: T201
    logging.getLogger("a.library").warning("not this")
    for _ in tqdm(range(3), desc="nor this"):
        pass


@shared_task(name="support.counts")
def counts(lines: int, file: str | None = None) -> int:
    """Log numbered lines beside a bar, a hundred a second; end only when there is such a file."""
    for number in progress(range(lines), desc="counting"):
        job.log(f"line {number}")
        time.sleep(0.01)
    _await(file)
    return lines


@shared_task(name="support.counts_until")
def counts_until(file: str) -> int:
    """Log numbered lines, a hundred a second, until there is such a file; return how many."""
    number = 0
    while not Path(file).exists():
        job.log(f"line {number}")
        number += 1
        time.sleep(0.01)
    return number


@shared_task(name="support.note")
def note(file: str, seconds: float, fails: bool = False) -> str:
    """Write a line to a file, and then take some time."""
    with Path(file).open("a") as lines:
        lines.write("ran\n")
    for _ in progress(range(round(seconds * 100)), desc="note"):
        time.sleep(0.01)
    if fails:
        raise ValueError("as it was told to")
    return "done"


@shared_task(name="support.resume", bind=True)
def resume(self, file: str, rows: int, pause: float, ends: str = "") -> int:  # type: ignore[no-untyped-def]
    """Go through rows, each a line of a file with the attempt that wrote it.

    Args:
        file: the file.
        rows: how many.
        pause: seconds that each takes.
        ends: how the first attempt ends, at half of the rows: ``retry``, ``fail``; with ``deaf``,
            by SIGKILL alone.
    """
    job.set_meta(pid=os.getpid())
    attempt = f"{self.request.retries}{self.request.delivery_info['redelivered']:d}"
    for row in job.resume(range(rows), desc="rows", unit="row"):
        if row == rows // 2 and ends == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        if row == rows // 2 and ends and attempt == "00":
            raise self.retry(countdown=0) if ends == "retry" else ValueError("as it was told to")
        with Path(file).open("a") as lines:
            lines.write(f"{attempt} {row}\n")
        time.sleep(pause)
    return rows


@shared_task(name="support.spawn_canvas")
def spawn_canvas(kind: str) -> str:
    """Start tasks that nobody planned."""
    one = add.si(1, 1)
    canvas = {
        "tasks": group(one, one, one),
        "chain": chain(one, one, one),
        "chord": chord([one, one], one),
        "linked": add.si(1, 1).on_error(one).set(link=[one, one]),
    }
    canvas[kind].apply_async()
    return kind


@shared_task(name="support.replace", bind=True)
def replace(self, kind: str):  # type: ignore[no-untyped-def]
    """Put other tasks into the place of this one."""
    one = add.si(1, 1)
    canvas = {"task": one, "chain": chain(one, one, one), "group": group(one, one)}
    return self.replace(canvas[kind])


class Unpicklable(Exception):
    """Has something that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("unpicklable")
        self.held = threading.Lock()


class Unloadable(Exception):
    """Can be pickled, and not loaded again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("unloadable")


class Unsayable(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@shared_task(name="support.awkward")
def awkward(kind: str, levels: int = 0) -> Any:
    """Return or raise what is hard to hand on."""
    deep = nested(levels)
    if kind == "result":
        return deep
    if kind == "meta":
        job.set_meta(deep=deep)
        return "done"
    raise {
        "deep": lambda: ValueError(deep),
        "unpicklable": Unpicklable,
        "unloadable": lambda: Unloadable(1, 2),
        "unsayable": Unsayable,
    }[kind]()


#: A name that is markup of rich's, and wrong markup at that, and more than text for a terminal.
HOSTILE = "support.[/nothing][red]\x1b]52;c;cm0=\x07\u202e"


@shared_task(name=HOSTILE)
def hostile(text: str, seconds: float) -> None:
    """Say a text in every way, and then move its bar for some seconds."""
    bar = progress(total=1000, desc=f"bar{text}", unit=text)
    bar.set_postfix_str(text)
    job.log(f"line{text}\nforged{text}")
    job.output(f"{text}out\n")
    job.set_meta(**{text: text})
    for _ in range(int(seconds * 100)):
        bar.update(1)
        time.sleep(0.01)
    logging.getLogger("hostile").warning("logged %s", text)
    raise ValueError(f"error{text}")


@shared_task(name="support.announces")
def announces(over: str) -> int:
    """Log a numbered line and push its number, 20 times a second, until a file exists."""
    bridge, number = Bridge(), 0
    while not Path(over).exists():
        job.log(f"line {number}")
        bridge.push("notice", number, job=job.id)
        number += 1
        time.sleep(0.05)
    return number
