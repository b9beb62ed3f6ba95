"""What events have to say besides bars, as plain lines of a terminal."""

from __future__ import annotations

import base64
import codecs
import re
from typing import Any

from bridge.cli.format import duration

__all__ = ["Lines", "error_text"]

#: Colours and movements of the cursor, which a program writes for a terminal of its own.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
#: Other control characters, which would ring, erase or hide.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


class Lines:
    """Turns events into lines; output that comes in pieces is put together first."""

    def __init__(self) -> None:
        #: Of each task, the line that has no end yet.
        self._partial: dict[str, str] = {}
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def of(self, event: dict[str, Any]) -> list[str]:
        """Return the lines that an event completes."""
        data = event["data"]
        match event["type"]:
            case "log":
                return [_log(line) for line in data.get("lines", [])]
            case "output":
                return self._output(event["task"], data.get("chunks", []))
            case "retrying":
                return [_retrying(event["at"], data)]
            case "cancelling":
                return ["cancelling" + (f": {data['reason']}" if data.get("reason") else "")]
            case "stalled":
                seconds = duration(data.get("silent", 0))
                return [f"nothing has come from it for {seconds}: its worker may be busy, or gone"]
        return []

    def rest(self) -> list[str]:
        """Return the output that has no end, at the job's."""
        rest = [_clean(text) for text in self._partial.values() if text]
        self._partial.clear()
        return rest

    def _output(self, task: str, chunks: list[str | dict[str, str]]) -> list[str]:
        text = self._partial.get(task, "") + "".join(self._text(task, one) for one in chunks)
        *whole, self._partial[task] = text.replace("\r\n", "\n").split("\n")
        return [_clean(line) for line in whole]

    def _text(self, task: str, chunk: str | dict[str, str]) -> str:
        if isinstance(chunk, str):
            return chunk
        # The bytes of one letter may come in two chunks.
        new = codecs.getincrementaldecoder("utf-8")
        decoder = self._decoders.setdefault(task, new("replace"))
        return decoder.decode(base64.b64decode(chunk["base64"]))


def _clean(line: str) -> str:
    # After a carriage return, a terminal writes over the line.
    shown = ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2]
    return CONTROLS.sub("", shown)


def _log(line: dict[str, Any]) -> str:
    level = line.get("level", "INFO")
    message = "\n".join(_clean(part) for part in str(line["message"]).split("\n"))
    return message if level == "INFO" else f"{level}: {message}"


def _retrying(at: float, data: dict[str, Any]) -> str:
    why = data.get("reason") or f"after {error_text(data.get('error'))}"
    when = data.get("retry_at")
    return f"retrying {why}" + (f", in {duration(max(0.0, when - at))}" if when else "")


def error_text(error: dict[str, Any] | None) -> str:
    """Return an exception as one line."""
    return f"{error['class']}: {error['message']}" if error else "an error"
