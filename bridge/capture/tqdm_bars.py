"""Capture of bars that a library draws with tqdm, or with a subclass of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from bridge.reporting import current_job
from bridge.reporting.progress import Bar, bar_class

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["install"]

#: Modules of tqdm whose bars are not only drawn on a terminal, but in a window or a chat. They are
#: not replaced; bars of tqdm.rich are captured as rich's.
ELSEWHERE = frozenset(
    {
        "tqdm.contrib.discord",
        "tqdm.contrib.slack",
        "tqdm.contrib.telegram",
        "tqdm.gui",
        "tqdm.rich",
        "tqdm.tk",
    }
)

_new = tqdm.__new__
_write = tqdm.write.__func__  # type: ignore[attr-defined]


def _wanted() -> bool:
    place = current_job.here()
    return place is not None and "tqdm" in place[0].capture


def _new_in_job(cls: type, *args: object, **options: object) -> tqdm[object]:
    # Instances of all of tqdm's classes are made here; Python then calls __init__ of the result.
    drawn = ELSEWHERE.intersection(base.__module__ for base in cls.__mro__)
    captured = None if drawn or not _wanted() else bar_class(cls)
    return _new(cls, *args, **options) if captured is None else object.__new__(captured)


def _write_in_job(
    cls: type,
    s: str,
    file: SupportsWrite[str] | None = None,
    end: str = "\n",
    nolock: bool = False,
) -> None:
    if file is None and _wanted():
        Bar.write(s)
    else:
        _write(cls, s, file, end, nolock)


def install() -> None:
    """Replace ``tqdm.__new__`` and ``tqdm.write``. Calling it again does nothing."""
    tqdm.__new__ = staticmethod(_new_in_job)  # type: ignore[method-assign,assignment]
    tqdm.write = classmethod(_write_in_job)  # type: ignore[method-assign,assignment]
