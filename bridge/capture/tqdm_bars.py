"""Bars that a library draws with tqdm, or with any class made from tqdm's."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from bridge.reporting import current_job
from bridge.reporting.progress import Bar, bar_class

__all__ = ["install"]

#: Modules of tqdm whose bars are shown elsewhere too: in a window, in a chat. They stay as they
#: are; what tqdm.rich draws is captured as rich's.
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


def _new_in_job(cls: Any, *args: Any, **options: Any) -> Any:
    # All of tqdm's classes are made here. Python then calls the __init__ of what it is given.
    drawn = ELSEWHERE.intersection(base.__module__ for base in cls.__mro__)
    captured = None if drawn or not _wanted() else bar_class(cls)
    return _new(cls, *args, **options) if captured is None else object.__new__(captured)


def _write_in_job(
    cls: Any, s: str, file: Any = None, end: str = "\n", nolock: bool = False
) -> None:
    if file is None and _wanted():
        Bar.write(s)
    else:
        _write(cls, s, file, end, nolock)


def install() -> None:
    """Be there when a bar is made. Calling it again does nothing."""
    tqdm.__new__ = staticmethod(_new_in_job)  # type: ignore[method-assign]
    tqdm.write = classmethod(_write_in_job)  # type: ignore[method-assign,assignment]
