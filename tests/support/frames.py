"""Compares every frame of this process's clients, and of its browsers, with the protocol's schema.

A frame whose shape (fields, types of values, enumerated values) was found right is not compared
again: the schema says nothing else of it. A frame costs microseconds then.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

from socketio import packet

from bridge.protocol import frames
from support.wire import event_flaws, flaws

__all__ = [
    "FLAWS",
    "check",
    "check_browser",
    "check_sent_text",
    "check_text",
    "install",
    "was_right",
]

#: Found since a test began.
FLAWS: list[str] = []
#: Fields with any JSON.
ANY = frozenset({"meta", "result"})
#: Fields whose values are enumerated.
ENUMERATED = frozenset({"type", "state", "code", "ok", "status"})
#: Fields that tell of an answer which request it answers, in this order.
ANSWERS = {
    "error": "ErrorAnswer",
    "refused": "BulkAnswer",
    "again_of": "RunAgainAnswer",
    "jobs": "JobsAnswer",
    "tasks": "TasksAnswer",
    "expires": "RefreshAnswer",
    "state": "CancelAnswer",
    "snapshot": "WatchAnswer",
}
_right: set[tuple[str, Hashable]] = set()


def install() -> None:
    """Compare what python-socketio's clients of this process get on ``/jobs`` from now on."""
    decode = packet.Packet.decode

    def decode_and_check(self: packet.Packet, encoded_packet: str) -> Any:
        attachments = decode(self, encoded_packet)
        # A server decodes packets of a class of its own.
        if type(self) is packet.Packet and self.namespace == "/jobs":
            _check_packet(self)
        return attachments

    packet.Packet.decode = decode_and_check


def _check_packet(one: packet.Packet) -> None:
    if one.packet_type == packet.EVENT and one.data[0] in frames.EVENTS:
        check(frames.EVENTS[one.data[0]].__name__, one.data[1])
    elif one.packet_type == packet.ACK and isinstance(one.data[0], dict):
        answer = one.data[0]
        kind = next((kind for name, kind in ANSWERS.items() if name in answer), "UnwatchAnswer")
        check("EnqueueAnswer" if kind == "WatchAnswer" and "job" in answer else kind, answer)


def check_text(text: str) -> None:
    """Compare an Engine.IO message that a client of no library has got."""
    if text.startswith(("42/jobs,", "43/jobs,")):
        packet.Packet(encoded_packet=text[1:])


def check_browser(browser: Any) -> None:
    """Compare what the pages of a browser of Playwright's get and send over WebSockets."""
    make = browser.new_context

    def new_context(**options: Any) -> Any:
        context = make(**options)
        context.on("page", lambda page: page.on("websocket", _check_websocket))
        return context

    browser.new_context = new_context


def _check_websocket(websocket: Any) -> None:
    if "/socket.io/" not in websocket.url:
        return  # of an application beside
    websocket.on("framereceived", check_text)
    websocket.on("framesent", check_sent_text)


def check_sent_text(text: str) -> None:
    """Compare an Engine.IO message that a client has sent, if it is a request."""
    if not text.startswith("42/jobs,"):
        return
    one = packet.Packet(encoded_packet=text[1:])
    name, *payload = one.data
    if name not in frames.REQUESTS:
        FLAWS.append(f"{name}: there is no such request")
        return
    for part in payload:
        check(frames.REQUESTS[name][0].__name__, part)


def check(kind: str, value: Any) -> None:
    """Compare a value with a type of the protocol; what is wrong is added to ``FLAWS``."""
    if "OLD_SERVER" in os.environ or (shape := (kind, _shape(value))) in _right:
        return
    found = event_flaws(value) if kind == "JobEvent" else flaws(value, kind)
    FLAWS.extend(found)
    if not found:
        _right.add(shape)


def was_right(kind: str) -> bool:
    """Whether a value of a type was found right since this process began."""
    return any(found == kind for found, _ in _right)


def _shape(value: Any, name: str = "") -> Hashable:
    if name in ANY:
        return None
    if isinstance(value, dict):
        return tuple(sorted((key, _shape(one, key)) for key, one in value.items()))
    if isinstance(value, list):
        return frozenset(map(_shape, value))
    return value if name in ENUMERATED else type(value).__name__
