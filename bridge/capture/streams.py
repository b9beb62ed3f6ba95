"""Capture of ``sys.stdout`` and ``sys.stderr`` as output of a job."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from bridge.reporting import current_job
from bridge.reporting.current_job import put_output

__all__ = ["attach"]


class Tee:
    """A text stream that also sends what a job writes to it as the job's output.

    Args:
        stream: stream that everything is written to, as before.
        name: ``stdout`` or ``stderr``.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name

    def write(self, text: str) -> int:
        """Write text, and send it as output of the current job if the job captures this stream."""
        place = current_job.here()
        if place is not None and self._name in place[0].capture and isinstance(text, str):
            put_output(*place, text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def attach(names: Iterable[str]) -> None:
    """Wrap the streams of :mod:`sys` with these names in a :class:`Tee`, if they are not."""
    for name in names:
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Tee):
            setattr(sys, name, Tee(stream, name))
