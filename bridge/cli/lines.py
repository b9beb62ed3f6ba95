"""``Lines``: turns events into lines for a terminal; of progress, only where an attempt begins."""

from __future__ import annotations

import base64

from bridge.cli.format import duration, saved
from bridge.protocol.json_types import JobEvent, JobFailure, JSONObject, LogLine, Resumption

__all__ = ["Lines", "error_text"]

#: Bytes of output without a line end that are kept until one comes; more are passed on as they are.
MAX_PARTIAL = 1024 * 1024


class Lines:
    """Turns events into lines; output that comes in pieces is joined first.

    Lines about a job are text; lines of the job's own output are bytes, unchanged.
    """

    def __init__(self) -> None:
        #: Output line without a line end yet, by task.
        self._partial: dict[str, bytes] = {}
        #: Newest execution of each task for which the line "attempt 2, from 57 %" was printed.
        self._told: dict[str, int] = {}

    def of(self, event: JobEvent) -> list[str | bytes]:
        """Return the lines that an event completes; lines of output include their line ends."""
        data = event["data"]
        match event["type"]:
            case "progress" if resumed := data.get("resumed"):
                return self._resumed(event, resumed)
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
            case "disturbed" if data.get("disturbed"):
                return [f"no news for now: {data.get('reason', 'its workers are out of touch')}"]
            case "disturbed":
                return ["news of it comes again"]
        return []

    def _resumed(self, event: JobEvent, resumed: Resumption) -> list[str | bytes]:
        if self._told.get(event["task"]) == event["run"]:
            return []
        self._told[event["task"]] = event["run"]
        share = resumed["share"]
        origin = f"what was {saved(resumed['at'])}" if share is None else f"{int(100 * share)}%"
        return [f"attempt {event['data'].get('attempt', 2)}, from {origin}"]

    def rest(self) -> list[bytes]:
        """Return the output that has no line end yet, with one added, and forget it."""
        rest = [text + b"\n" for text in self._partial.values() if text]
        self._partial.clear()
        return rest

    def _output(self, task: str, chunks: list[str | dict[str, str]]) -> list[str | bytes]:
        text = self._partial.get(task, b"") + b"".join(map(_bytes, chunks))
        whole, self._partial[task] = _divided(text)
        return [*whole]


def _divided(text: bytes) -> tuple[list[bytes], bytes]:
    """Return whole lines, and the beginning of a line without a line end yet."""
    *whole, rest = text.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return (lines, rest) if len(rest) <= MAX_PARTIAL else ([*lines, rest], b"")


def _bytes(chunk: str | dict[str, str]) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode(errors="replace")
    return base64.b64decode(chunk["base64"])


def _log(line: LogLine) -> str:
    level = line.get("level", "INFO")
    message = str(line["message"])
    return message if level == "INFO" else f"{level}: {message}"


def _retrying(at: float, data: JSONObject) -> str:
    why = data.get("reason") or f"after {error_text(data.get('error'))}"
    when = data.get("retry_at")
    return f"retrying {why}" + (f", in {duration(max(0.0, when - at))}" if when else "")


def error_text(error: JobFailure | None) -> str:
    """Return an event's ``error`` object as text: class and message."""
    return f"{error['class']}: {error['message']}" if error else "an error"
