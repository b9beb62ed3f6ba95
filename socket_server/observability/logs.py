"""Logging of a server: text or JSON lines, and a limited number of lines about clients."""

from __future__ import annotations

import json
import logging
import time

from bridge.printable import printable, safe_record

__all__ = ["JsonFormatter", "configure", "tell"]

logger = logging.getLogger("socket_server.watching.clients")

TEXT = "%(asctime)s %(levelname)s %(message)s"
#: Lines about clients in a second at most, so that a flood of requests does not flood the log.
MAX_LINES = 100


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

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
    """Formats a record as a line of text, with the fields at its end.

    Text from clients is in the fields, as JSON, or is made safe: it cannot forge a line or send
    escape sequences to a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line; further lines, a traceback's for example, are indented."""
        fields = getattr(record, "fields", {})
        text = "".join(f" {name}={json.dumps(value)}" for name, value in fields.items())
        line, _, rest = super().format(safe_record(record)).partition("\n")
        return line + printable(text, most=None) + ("\n" + rest if rest else "")


def configure(form: str) -> None:
    """Log to stderr from now on, from level INFO.

    Args:
        form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class Second:
    """The start of the current second, and its lines about clients, left-out ones included."""

    def __init__(self) -> None:
        self.begun, self.lines = 0.0, 0


_second = Second()


def tell(what: str, **fields: object) -> None:
    """Log an action of a client, up to ``MAX_LINES`` in a second.

    Args:
        what: ``connect``, ``watch``, ``run_again``, ``bulk``, ``refuse`` or ``disconnect``.
        fields: fields of the line; those that are None are left out.
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
