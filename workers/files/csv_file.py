"""A CSV file whose rows all have the fields of its header."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Self

from bridge.errors import InputError
from workers.files.inputs import input_file
from workers.files.paths import shown

__all__ = ["CsvFile"]

#: Possible delimiters, likeliest first.
DELIMITERS = ",;\t|"
#: Characters from which the delimiter is detected.
SAMPLE = 1 << 16
#: Longest name of a column, in characters: SQL Server's limit.
MAX_NAME = 128


class CsvFile:
    """An open CSV file in UTF-8, with or without byte order mark; its delimiter is sniffed.

    Args:
        path: the file, below an input root.

    Raises:
        InputError: the file cannot be read, is empty, is not UTF-8, or has no usable header.
    """

    def __init__(self, path: str) -> None:
        self._bytes = input_file(path).open()
        try:
            #: The path, as the job got it.
            self.path = PurePath(path)
            #: Size of the file, in bytes.
            self.size = os.fstat(self._bytes.fileno()).st_size
            self._text = io.TextIOWrapper(self._bytes, "utf-8-sig", newline="")
            self._delimiter = _delimiter(self._sample())
            #: Names of the columns.
            self.header = self._header()
        except BaseException:
            self._bytes.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._text.close()

    @property
    def version(self) -> str:
        """What tells the file as it is from what it was, or will be."""
        status = os.fstat(self._bytes.fileno())
        return f"{status.st_size} {status.st_mtime_ns}"

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._bytes.tell()

    def rows(self, complain: Callable[[str], object] = lambda message: None) -> Iterator[list[str]]:
        """Yield each row that has as many fields as the header, from the first on.

        Args:
            complain: called with the reason and the line number of each row left out.

        Raises:
            InputError: the file is not UTF-8.
        """
        lines = self._lines()
        next(lines)
        for number, row in lines:
            if isinstance(row, csv.Error):
                complain(f"line {number}: {row}")
            elif len(row) != len(self.header):
                complain(
                    f"line {number}: {len(row)} fields where the header has {len(self.header)}"
                )
            else:
                yield row

    def _lines(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Yield the line number and the fields, or the error, of each row that is not blank."""
        self._text.seek(0)
        # Strict: rows that an unclosed quote swallows are reported, and not taken for one field.
        reader = csv.reader(self._text, delimiter=self._delimiter, strict=True)
        while True:
            number = reader.line_num + 1
            try:
                if row := next(reader):
                    yield number, row
            except csv.Error as error:
                yield number, error
            except UnicodeDecodeError:
                raise self._not_utf8() from None
            except StopIteration:
                return

    def _header(self) -> list[str]:
        _, row = next(self._lines(), (0, None))
        if row is None:
            raise self._unusable("is empty", "give a file with a header and rows")
        if isinstance(row, csv.Error):
            raise self._unusable(f"has a broken header ({row})", "correct its first line")
        names = [name.strip() or f"column_{place}" for place, name in enumerate(row, 1)]
        if any("\0" in name or len(name) > MAX_NAME for name in names):
            raise self._unusable("has no names of columns in its first line", "add a header")
        # Many databases do not distinguish upper and lower case in names of columns.
        name, times = Counter(name.casefold() for name in names).most_common(1)[0]
        if times > 1:
            raise self._unusable(f"has {times} columns named {name!r}", "rename them")
        return names

    def _sample(self) -> str:
        try:
            return self._text.read(SAMPLE)
        except UnicodeDecodeError:
            raise self._not_utf8() from None

    def _not_utf8(self) -> InputError:
        return self._unusable("is not UTF-8 text", "save it as UTF-8")

    def _unusable(self, what: str, remedy: str) -> InputError:
        return InputError(f"The CSV file {shown(self.path)} {what}: {remedy}.")


def _delimiter(sample: str) -> str:
    """Return the delimiter that splits the sample most evenly into the most fields."""

    def evenness(delimiter: str) -> tuple[float, int]:
        lines = io.StringIO(sample, newline="")
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            return (0.0, 0)
        if not widths or widths[0] == 1:
            return (0.0, 1)
        return (widths.count(widths[0]) / len(widths), widths[0])

    return max(DELIMITERS, key=evenness)
