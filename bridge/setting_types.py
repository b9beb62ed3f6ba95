"""What the text of a setting may be. Each raises ``ValueError`` with the end of a sentence."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import broker_url

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = [
    "authorities",
    "broker",
    "capture",
    "count",
    "file",
    "flag",
    "function",
    "level",
    "listed",
    "networks",
    "log_format",
    "login",
    "number",
    "origin",
    "origins",
    "port",
    "seconds",
    "queue_type",
    "secrets",
    "whole",
]

#: Bytes that a key needs for HS256 (RFC 7518, section 3.2: as long as the hash).
SECRET_BYTES = 32

#: What can be captured of code that knows nothing of taskbridge.
CAPTURES = ("tqdm", "rich", "logging", "stdout", "stderr")

ORIGIN = re.compile(r"https?://[^/?#@\s]+")


def listed(text: str) -> tuple[str, ...]:
    """Return parts that are separated by commas."""
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def number(text: str) -> float:
    """Return a positive number."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("must be a positive number")
    return value


def seconds(text: str) -> float:
    """Return a positive number of seconds."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("must be a positive number of seconds")
    return value


def port(text: str) -> int:
    """Return a TCP port."""
    value = int(text)
    if not 0 < value < 65536:
        raise ValueError("must be a port from 1 to 65535")
    return value


def count(text: str) -> int:
    """Return a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


def whole(text: str) -> int:
    """Return a whole number of 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError("must be 0 or more")
    return value


def flag(text: str) -> bool:
    """Return a yes or no."""
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("must be 0 or 1")
    return text.lower() in ("1", "true")


def broker(text: str) -> str:
    """Return a broker's URL, or several separated by semicolons."""
    broker_url.check_files(broker_url.parse(text).files)
    return text


def queue_type(text: str) -> str:
    """Return a type of queues of RabbitMQ."""
    if text not in ("classic", "quorum"):
        raise ValueError("must be classic or quorum")
    return text


def log_format(text: str) -> str:
    """Return a form of a log."""
    if text not in ("text", "json"):
        raise ValueError("must be text or json")
    return text


def login(text: str) -> str:
    """Return ``user:password``."""
    user, _, password = text.partition(":")
    if not user or not password:
        raise ValueError("must be user:password")
    return text


def origin(text: str) -> str:
    """Return a URL of HTTP."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return text


def capture(text: str) -> tuple[str, ...]:
    """Return what is to be captured."""
    kinds = () if text == "none" else listed(text)
    if unknown := [kind for kind in kinds if kind not in CAPTURES]:
        raise ValueError(f"may list {', '.join(CAPTURES)}, or be none; not {unknown[0]!r}")
    return kinds


def level(text: str) -> int:
    """Return a level of logging."""
    value = logging.getLevelNamesMapping().get(text.upper())
    if value is None:
        raise ValueError("must be a level of logging: DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return value


def secrets(text: str) -> tuple[str, ...]:
    """Return keys that are long enough to sign with."""
    keys = listed(text)
    if any(len(key.encode()) < SECRET_BYTES for key in keys):
        raise ValueError(
            f"has a key shorter than {SECRET_BYTES} bytes; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return keys


def origins(text: str) -> tuple[str, ...]:
    """Return origins of browser pages."""
    found = listed(text)
    for one in found:
        if not ORIGIN.fullmatch(one):
            raise ValueError(f"must list origins such as https://app.example.com, not {one!r}")
    return found


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return addresses, or networks of them."""
    from ipaddress import ip_network

    try:
        return tuple(ip_network(one) for one in listed(text))
    except ValueError as error:
        raise ValueError(f"must list addresses or networks such as 10.0.0.0/8: {error}") from None


def function(text: str) -> str:
    """Return the name of a function that is imported later."""
    module, _, name = text.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError("must name a function as package.module:function")
    return text


def authorities(text: str) -> Path:
    """Return the path of a file with certificates of authorities."""
    broker_url.check_authorities(text)
    return Path(text)


def file(text: str) -> Path:
    """Return the path of a file that can be read."""
    path = Path(text)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from None
    return path
