"""``progress``: a progress bar with tqdm's interface, which inside a job is sent to clients."""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from bridge.errors import JobCancelled
from bridge.reporting import current_job
from bridge.reporting.meter import Meter, Reading, finite
from bridge.reporting.run import Run

__all__ = ["Bar", "progress", "progress_range"]

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    Base = tqdm[Any]
else:
    Base = tqdm


class _Nobody:
    """Null object in place of tqdm's registry of bars, and of the file that it draws on."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...

    def remove(self, bar: object) -> None: ...

    def __iter__(self) -> Iterator[object]:
        return iter(())


class _Stopped(float):
    """A count whose addition raises ``JobCancelled``; see :meth:`Bar.stop`."""

    run: Run | None = None

    def __add__(self, other: float) -> float:
        if self.run is None:
            raise JobCancelled
        self.run.check()
        return float(self) + other  # of a handler that Celery calls after the task's body

    __radd__ = __add__

    def __sub__(self, other: float) -> float:
        return self + -other


class Bar(Base):
    """A tqdm bar inside a job: it has tqdm's interface, and draws nothing.

    Iterating or calling :meth:`update` only counts, which costs a fraction of tqdm's; the sender
    thread samples the count. Created by :class:`progress`, and by ``bridge.capture.tqdm_bars`` in
    place of tqdm's own bars.

    Raises:
        JobCancelled: (while iterating, updating or being created) the job was cancelled.
    """

    # For speed, not for size: CPython calls the methods of an object quickly only as long as its
    # __dict__ was not accessed and is small.
    __slots__ = (
        "_meter",
        "_run",
        "_time",
        "desc",
        "n",
        "postfix",
        "start_t",
        "total",
        "unit",
        "unit_scale",
    )

    # All bars of the process share tqdm's own lock and registry, and the lock is held while one is
    # drawn.
    _lock = threading.RLock()
    _instances = _Nobody()

    def __new__(cls, *_: object, **__: object) -> Self:
        return object.__new__(cls)

    def __init__(
        self,
        iterable: Iterable[object] | None = None,
        desc: str | None = None,
        total: float | None = None,
        leave: bool | None = True,
        file: SupportsWrite[str] | None = None,
        *more: Any,
        **options: Any,
    ) -> None:
        if "disable" in options:
            options["disable"] = bool(options["disable"])  # tqdm: None disables without a terminal
        super().__init__(iterable, desc, total, leave, _Nobody(), *more, **options)
        here = current_job.here()
        self._run = here[0] if here else None
        clock = self._run.clock if self._run else time.monotonic
        self._time, self.start_t = clock, clock()
        self._meter = Meter(_reader(self), leave=leave, clock=clock)
        if self._run:
            position, hidden = options.get("position"), bool(self.disable)
            self.pos = self._run.show(self, self._meter, position, hidden=hidden)

    @classmethod
    def _get_free_pos(cls, instance: object = None) -> int:
        return 0

    def __iter__(self) -> Iterator[object]:
        if self.iterable is None:
            raise TypeError("this bar has no iterable: give it one, or move it with update()")
        return self._each(self.iterable)

    def _each(self, iterable: Iterable[object]) -> Iterator[object]:
        try:
            for item in iterable:
                yield item
                self.n += 1
        finally:
            self.close()

    def update(self, n: float = 1) -> None:  # type: ignore[override] # no None: a test costs
        """Move the bar by ``n`` units, which may be negative or fractional."""
        self.n += n

    def stop(self) -> None:
        """Make the bar's next step raise ``JobCancelled``; called by the sender thread.

        A step is a single addition to the count, so the count is replaced by one that raises. A
        step under way may overwrite it, so the sender repeats the call in each cycle.
        """
        if type(self.n) is not _Stopped:
            count = _Stopped(finite(self.n) or 0)
            count.run = self._run
            self.n = count

    def reset(self, total: float | None = None) -> None:
        """Restart at 0, with a new total if one is given."""
        self.n = 0
        if total is not None:
            self.total = total
        self.start_t = self._time()
        self._meter.reset()

    def close(self) -> None:
        """End the bar. Calling it again does nothing."""
        meter = getattr(self, "_meter", None)  # missing if __init__ failed
        if meter is not None and not meter.closed:
            self.disable = True
            meter.close()
            if self._run:
                self._run.closed(meter)

    def unpause(self) -> None:
        """Leave the time since the last sample out of the rate."""
        self._meter.unpause()

    def refresh(self, *_: object, **__: object) -> Any:
        """Do nothing: the sender thread samples the bar."""
        return True

    display = refresh

    def clear(self, *_: object, **__: object) -> None:
        """Do nothing: nothing is drawn."""

    moveto = clear

    @property
    def format_dict(self) -> dict[str, object]:
        """tqdm's values for formatting a bar, with the smoothed rate that is sent."""
        meter = getattr(self, "_meter", None)
        return {**super().format_dict, "rate": meter and meter.rate}

    @classmethod
    def write(
        cls, s: str, file: SupportsWrite[str] | None = None, end: str = "\n", nolock: bool = False
    ) -> None:
        """Send a log line to the clients that watch the job; with ``file``, write it there."""
        if file is None:
            current_job.job.log(s)
        else:
            file.write(s + end)


def _reader(bar: Bar) -> Callable[[], Reading | None]:
    # Weak: a bar that is garbage-collected counts as closed, as with tqdm.
    reference = weakref.ref(bar)

    def read() -> Reading | None:
        if (bar := reference()) is None:
            return None
        # A disabled bar lacks some of these attributes.
        texts = (getattr(bar, name, None) for name in ("desc", "postfix", "unit", "unit_scale"))
        return Reading._make((bar.n, bar.total, *texts))

    return read


@functools.lru_cache(256)
def bar_class(cls: type) -> type[Bar] | None:
    """Return a class of ``cls`` and :class:`Bar`, which draws nothing; None if they do not mix."""
    if cls is tqdm:
        return Bar
    if issubclass(cls, Bar):
        return cls
    try:
        made: type[Bar] = type(cls.__name__, (cls, Bar), {"__module__": cls.__module__})
    except TypeError:  # a metaclass or slots of its own
        return None
    return made


class progress(Base):  # noqa: N801 - used as a function, as tqdm is
    """A progress bar with tqdm's interface; can be passed as a ``tqdm_class``.

    Inside a job it is a :class:`Bar`, sent to the clients that watch; elsewhere a plain tqdm bar.

    Args:
        iterable: iterable of ``for`` or ``async for``; None for a bar that is moved by
            ``update()``.
        desc: text in front of the bar.
        total: expected number of units; default ``len(iterable)``, None when unknown.
        leave: whether the finished bar stays visible until another bar takes its line; default
            True.
        unit: name of one unit; default ``it``.
        unit_scale: whether numbers are shown with SI prefixes; default False.
        initial: where the counter starts; default 0.
        position: line of the bar; default the lowest free one.
        disable: whether the bar is hidden, in a job too; default False.
        postfix: names and values shown behind the bar.

    All other options of tqdm are accepted, and have an effect on a terminal only.

    Raises:
        JobCancelled: (while iterating, updating or being created) the job was cancelled.
        TqdmKeyError: an option that tqdm does not know.
    """

    def __new__(cls, *args: object, **options: object) -> Any:
        made = None if current_job.here() is None else bar_class(cls)  # type: ignore[arg-type]
        if made is None:
            return super().__new__(cls, *args, **options)
        return object.__new__(made)

    async def __aiter__(self) -> AsyncIterator[Any]:
        source = self.iterable
        try:
            if hasattr(source, "__aiter__"):
                async for item in source:
                    yield item
                    self.update()
            else:
                for item in source:
                    yield item
                    self.update()
        finally:
            self.close()

    @classmethod
    def write(
        cls, s: str, file: SupportsWrite[str] | None = None, end: str = "\n", nolock: bool = False
    ) -> None:
        """Print a line above the bars; inside a job, send it to clients as a log line."""
        if file is None and current_job.here():
            current_job.job.log(s)
        else:
            super().write(s, file, end, nolock)


def progress_range(*bounds: int, **options: Any) -> Any:
    """Return ``progress(range(*bounds), **options)``, as tqdm's ``trange`` does."""
    return progress(range(*bounds), **options)
