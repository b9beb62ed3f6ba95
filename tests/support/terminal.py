"""A program at a terminal of its own, with somebody who types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.process import ROOT
from support.wait import until

__all__ = ["DRAWING", "Terminal"]

#: What rich draws with, and click colours with.
DRAWING = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program whose terminal is ours.

    Args:
        argv: the program and its arguments.
        env: its whole environment.
        size: rows and columns.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        env: Mapping[str, str],
        size: tuple[int, int] = (30, 100),
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self._popen = subprocess.Popen(
            [str(part) for part in argv],
            env={**_without_size(env), "TERM": "xterm-256color"},
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
        )
        os.close(theirs)
        self._seen = ""

    @property
    def text(self) -> str:
        """All that it has printed, without what moves the cursor."""
        return ESCAPES.sub("", self.raw)

    @property
    def raw(self) -> str:
        """All that it has printed."""
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self._seen += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # it has ended
                break
        return self._seen

    def await_text(self, text: str, timeout: float = 30.0) -> None:
        """Wait until it has printed this."""
        until(lambda: text in self.text, timeout, f"{text!r} at the terminal")

    def type(self, text: str) -> None:
        """Type; ``\\x03`` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end, reading all the while; return its exit status."""
        deadline = time.monotonic() + timeout
        while self._popen.poll() is None and time.monotonic() < deadline:
            _ = self.text
        return self._popen.wait(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._popen.kill()
        self._popen.wait()
        os.close(self._ours)


def _without_size(env: Mapping[str, str]) -> dict[str, str]:
    # Else the size of the terminal that runs the tests would count.
    return {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
