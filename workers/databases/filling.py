"""``Filling``: inserts rows of text, and commits them twice a second."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, insert

from workers.databases.column_types import Kind
from workers.databases.staging import Staging

__all__ = ["Filling"]

#: Seconds between two commits, each of which waits for a disk.
INTERVAL = 0.5


class Filling:
    """Inserts rows of text.

    Args:
        staged: where they are until there are all.
        keys: keys of the columns.
        kinds: types of the columns.
    """

    def __init__(self, staged: Staging, keys: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._staged, self._keys, self._kinds = staged, keys, kinds
        self._waiting: list[list[dict[str, object]]] = []
        self._due = time.monotonic() + INTERVAL

    @property
    def rows(self) -> int:
        """How many rows are committed, those of earlier attempts included."""
        return self._staged.rows

    def insert(self, rows: Sequence[Sequence[str]]) -> bool:
        """Insert rows, or note them for the next commit, and return whether that is done.

        Raises:
            ValueError: a value is not of its column's type.
            Superseded: a later attempt of the job has taken over.
        """
        values = [
            {
                key: kind.read(text) if text.strip() else None
                for key, kind, text in zip(self._keys, self._kinds, row, strict=True)
            }
            for row in rows
        ]
        self._waiting.append(values)
        if time.monotonic() < self._due:
            return False
        self.commit()
        return True

    def commit(self) -> None:
        """Insert the rows that were noted, all or none.

        Raises:
            Superseded: a later attempt of the job has taken over.
        """
        if self._waiting:
            self._staged.add(sum(map(len, self._waiting)), self._insert_all)
            self._waiting = []
        self._due = time.monotonic() + INTERVAL

    def _insert_all(self, connection: Connection) -> None:
        for values in self._waiting:
            _insert(connection, self._staged, values)


def _insert(connection: Connection, staged: Staging, values: list[dict[str, object]]) -> None:
    connection.execute(insert(staged.table), values)
