"""What a client's request searches for: its fields are checked here. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from bridge.protocol.json_types import JSONObject
from bridge.tokens import Grant
from socket_server.archive.finding.wanted import Wanted
from socket_server.archive.words import words_of
from socket_server.messages.requests import Refused, text

__all__ = ["queried", "wanted_of"]

#: Longest text to search for, in characters, and most words of it.
MAX_TEXT, MAX_WORDS = 200, 20


def wanted_of(fields: JSONObject, grant: Grant) -> Wanted:
    """Return which jobs a request asks for.

    Raises:
        Refused: a field is wrong, or the token does not name the owner. The refusal depends on the
            request and the token alone, never on whether there is such an owner.
    """
    asked = text(fields, "owner", required=False) or None
    if not grant.allows("operate"):
        if grant.owner is None:
            raise Refused("forbidden", "the token names no owner, only single jobs")
        if asked not in (None, grant.owner):
            raise Refused("forbidden", "only the scope operate finds jobs of other owners")
        asked = grant.owner
    return Wanted(
        owner=asked,
        state=text(fields, "state", required=False) or None,
        name=text(fields, "name", required=False) or None,
        words=_words(text(fields, "text", required=False, most=MAX_TEXT)),
        since=_time(fields, "since"),
        until=_time(fields, "until"),
    )


def _words(asked: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(words_of(asked)))
    if asked and not words:
        raise Refused("bad_request", "text must have a word: letters or digits")
    if len(words) > MAX_WORDS:
        raise Refused("bad_request", f"text must have {MAX_WORDS} words at most")
    return words


def _time(request: JSONObject, name: str) -> float | None:
    value = request.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise Refused("bad_request", f"{name} must be a time in seconds since the epoch")
    return float(value)


def queried(arguments: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Yield the fields of a request from an URL's query, in which all values are text."""
    for name in ("owner", "state", "name", "text", "next", "cursor"):
        if name in arguments:
            yield name, arguments[name]
    for name, kind in (("limit", int), ("since", float), ("until", float)):
        if name in arguments:
            yield name, _number(arguments[name], cast("Callable[[str], float]", kind))


def _number(value: str, kind: Callable[[str], float]) -> object:
    try:
        number = kind(value)
    except ValueError:
        return value  # which is refused as any other that is no number
    return number if math.isfinite(number) else value
