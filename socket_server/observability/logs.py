"""What a server says of its clients, a line each: for people, or for what collects logs."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from bridge.printable import printable, safe_record

__all__ = ["JsonFormatter", "configure", "tell"]

logger = logging.getLogger("socket_server.watching.clients")

TEXT = "%(asctime)s %(levelname)s %(message)s"
#: Lines about clients in a second at most: who floods a server is not to flood its log as well.
MAX_LINES = 100


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        said = {
            "at": round(record.created, 6),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class TextFormatter(logging.Formatter):
    """A line for people, with the fields at its end.

    What clients chose is in the fields, as JSON, or is made safe: it forges no line, and a terminal
    obeys nothing of it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line; more of them, a traceback for example, are indented."""
        fields = getattr(record, "fields", {})
        text = "".join(f" {name}={json.dumps(value)}" for name, value in fields.items())
        line, _, rest = super().format(safe_record(record)).partition("\n")
        return line + printable(text, most=None) + ("\n" + rest if rest else "")


def configure(form: str) -> None:
    """Log to stderr from now on.

    Args:
        form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class Second:
    """How many lines there were in this second, and how many there would have been."""

    def __init__(self) -> None:
        self.begun, self.lines = 0.0, 0


_second = Second()


def tell(what: str, **fields: Any) -> None:
    """Log what happened with a client.

    Args:
        what: ``connect``, ``watch``, ``refuse`` or ``disconnect``.
        fields: about whom; those that are None are left out.
    """
    now = time.monotonic()
    if now - _second.begun >= 1.0:
        if (left_out := _second.lines - MAX_LINES) > 0:
            logger.info("%d lines about clients were left out", left_out)
        _second.begun, _second.lines = now, 0
    _second.lines += 1
    if _second.lines <= MAX_LINES:
        given = {name: value for name, value in fields.items() if value is not None}
        logger.info(what, extra={"fields": given})
