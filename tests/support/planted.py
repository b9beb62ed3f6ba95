"""Results that somebody planted in a backend, to hurt whoever reads them."""

from __future__ import annotations

import json
import pickle
import sqlite3
from pathlib import Path
from typing import Any

__all__ = ["Touch", "plant", "planted"]


class Touch:
    """An object whose pickle, when it is loaded, makes a file.

    Args:
        file: which.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.file), "w"))


def planted(file: Path) -> dict[str, bytes]:
    """Return pickles in several encodings; each makes a file when it is loaded."""
    pickles = {f"protocol {one}": pickle.dumps(Touch(file), one) for one in range(2, 6)}
    text = f"cbuiltins\nopen\n(V{file}\nVw\ntR.".encode()
    instance = f"(V{file}\nVw\nibuiltins\nopen\n.".encode()
    nested = pickle.dumps({"exc_type": "E", "exc_module": "m", "exc_message": [Touch(file)]})
    return {**pickles, "marked": b"\x80\x02" + text, "an instance": b"\x80\x02" + instance,
            "within an exception": nested}  # fmt: skip


def plant(database: Path, task: str, result: Any, status: Any = "SUCCESS", **row: Any) -> None:
    """Store a row in Celery's table of a SQLite database.

    Args:
        database: its file.
        task: the task's id.
        result: any value that SQLite keeps.
        status: Celery's state, or something else.
        row: values of other columns.
    """
    row = {"task_id": task, "status": status, "result": result, **row}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    with sqlite3.connect(database) as connection:
        connection.execute(
            f"INSERT INTO celery_taskmeta ({names}) VALUES ({marks})", [*row.values()]
        )
    connection.close()


def encoded(**meta: Any) -> bytes:
    """Return what Celery stores under a key."""
    return json.dumps({"status": "SUCCESS", "result": None, **meta}).encode()
