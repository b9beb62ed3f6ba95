"""``explain``: why a module of an application cannot be imported, in one sentence."""

from __future__ import annotations

import site
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

__all__ = ["explain", "place"]


def explain(name: str, error: BaseException) -> str:
    """Return a sentence that names the module, the error, and where the application raised it.

    Args:
        name: the module, or the setting that names it.
        error: the exception of the import.
    """
    if type(error) is ValueError and error.__context__:
        error = error.__context__  # Celery raises a ValueError again, as another
    where, text = place(error.__traceback__), str(error)
    if isinstance(error, SyntaxError) and error.filename:
        where, text = f"{error.filename}, line {error.lineno}", error.msg
    at = f" ({where})" if where else ""
    return f"{name} cannot be imported: {type(error).__name__}: {text}{at}"


def place(trace: TracebackType | None) -> str | None:
    """Return file and line of the last frame in a file of the application's own; None for none."""
    paths = sysconfig.get_paths()
    ours = str(Path(__file__).parents[1])
    others = (*site.getsitepackages(), paths["stdlib"], paths["purelib"], "<", ours)
    frames = [one for one in traceback.extract_tb(trace) if not one.filename.startswith(others)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None
