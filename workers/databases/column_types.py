"""Detection of column types: the narrowest type that reads every text of a column."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Text
from sqlalchemy.types import TypeEngine

__all__ = ["KINDS", "TEXT", "ColumnTypes", "Kind"]

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
# Without a point an exponent needs its sign, as programs write it: 12e4 may be an article number.
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-][0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(_DATE.pattern + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")
_OFFSET = re.compile(_DATETIME.pattern + r"(Z|[+-][0-9]{2}:?[0-9]{2})")
#: Significant digits that identify any double; a number with more stays text.
_DIGITS = 17


SqlType: TypeAlias = TypeEngine[Any]


@dataclass(frozen=True)
class Kind:
    """A type of column: its name, its SQL type, and how a value is read.

    ``read`` raises ValueError for text that is not of this type.
    """

    name: str
    sql: type[SqlType] | SqlType
    read: Callable[[str], object]

    def fits(self, value: str) -> bool:
        """Whether ``value`` is of this type."""
        try:
            self.read(value)
        except ValueError:
            return False
        return True


class ColumnTypes:
    """Narrows down the types of a table's columns, row by row.

    Args:
        width: number of columns.
    """

    def __init__(self, width: int) -> None:
        self._candidates: list[tuple[Kind, ...]] = [KINDS] * width

    def add(self, row: Sequence[str]) -> None:
        """Exclude the types that the values of a row do not fit; empty values fit every type."""
        for column, value in enumerate(row):
            kinds = self._candidates[column]
            if value.strip() and kinds[0] is not TEXT:
                self._candidates[column] = tuple(kind for kind in kinds if kind.fits(value))

    def kinds(self) -> list[Kind]:
        """Return the narrowest type of each column; text for one without any value."""
        return [TEXT if kinds is KINDS else kinds[0] for kinds in self._candidates]


def _boolean(value: str) -> bool:
    word = value.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(value)
    return word == "true"


def _integer(value: str) -> int:
    # Leading zeros and plus signs mean something in postcodes and telephone numbers: text.
    number = int(_matching(_INTEGER, value))
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _float(value: str) -> float:
    text = _matching(_FLOAT, value)
    digits = re.sub(r"[eE].*|[^0-9]", "", text).lstrip("0")
    number = float(text)
    if len(digits) > _DIGITS or number in (float("inf"), float("-inf")):
        raise ValueError(value)
    return number


def _date(value: str) -> date:
    return date.fromisoformat(_matching(_DATE, value))


def _datetime(value: str) -> datetime:
    return datetime.fromisoformat(_matching(_DATETIME, value))


def _instant(value: str) -> datetime:
    # In UTC, since many databases (SQLite, MySQL) cannot store an offset.
    try:
        return datetime.fromisoformat(_matching(_OFFSET, value)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(value) from error


def _matching(pattern: re.Pattern[str], value: str) -> str:
    text = value.strip()
    if not pattern.fullmatch(text):
        raise ValueError(value)
    return text


TEXT = Kind("text", Text, str)

#: Narrowest first; every value fits the last.
KINDS: tuple[Kind, ...] = (
    Kind("boolean", Boolean, _boolean),
    Kind("integer", BigInteger, _integer),
    Kind("float", Double, _float),
    Kind("date", Date, _date),
    Kind("datetime", DateTime, _datetime),
    Kind("datetime with time zone", DateTime(timezone=True), _instant),
    TEXT,
)
