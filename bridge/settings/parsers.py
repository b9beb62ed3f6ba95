"""Parsers of the text of settings; each raises ``ValueError`` with the end of a sentence."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.extras import ASYNC_MODES
from bridge.settings import broker_url

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = [
    "archive",
    "async_mode",
    "authorities",
    "broker",
    "capture",
    "check_keys",
    "count",
    "databases",
    "delay",
    "duration",
    "file",
    "flag",
    "function",
    "kept_bytes",
    "level",
    "listed",
    "log_format",
    "login",
    "networks",
    "number",
    "origin",
    "origins",
    "outbox_bytes",
    "port",
    "queue_type",
    "root",
    "roots",
    "seconds",
    "secrets",
    "whole",
]

#: Bytes that a key needs for HS256 (RFC 7518, section 3.2: as long as the hash).
SECRET_BYTES = 32
#: Maximum seconds by which a server may delay events to read several at a time.
MAX_DELAY = 1.0
#: Maximum bytes of a job's arguments in an event, which may have 64 KiB.
MAX_KEPT = 32 * 1024
#: Minimum bytes of memory of an outbox: four own events of the maximum size.
MIN_OUTBOX = 256 * 1024

#: Sources whose output can be captured in tasks that do not use taskbridge's API.
CAPTURES = ("tqdm", "rich", "logging", "stdout", "stderr")

#: Folders that contain no root: their files are devices and kernel interfaces, not stored data.
NO_ROOTS = tuple(Path(name) for name in ("/dev", "/proc", "/sys"))

DATABASE = re.compile(r"([A-Za-z0-9][\w-]{0,62})=([a-z][\w+]*://.*)", re.ASCII)

ARCHIVE = re.compile(r"(postgresql(\+psycopg)?://[^/]*/.|sqlite:///.)")

ORIGIN = re.compile(r"https?://[^/?#@\s]+")


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list, without empty ones."""
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


def duration(text: str) -> float:
    """Return a number of seconds of 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("must be a number of seconds, or 0")
    return value


def delay(text: str) -> float:
    """Return a number of seconds from 0 to ``MAX_DELAY``."""
    value = float(text)
    if not 0 <= value <= MAX_DELAY:
        raise ValueError(f"must be a number of seconds from 0 to {MAX_DELAY:g}, such as 0.004")
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


def outbox_bytes(text: str) -> int:
    """Return a number of bytes of at least ``MIN_OUTBOX``."""
    value = int(text)
    if value < MIN_OUTBOX:
        raise ValueError(f"must be {MIN_OUTBOX} (256 KiB) or more")
    return value


def kept_bytes(text: str) -> int:
    """Return a number of bytes from 0 to ``MAX_KEPT``."""
    value = int(text)
    if not 0 <= value <= MAX_KEPT:
        raise ValueError(f"must be a number of bytes from 0 to {MAX_KEPT}")
    return value


def whole(text: str) -> int:
    """Return a whole number of 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError("must be 0 or more")
    return value


def flag(text: str) -> bool:
    """Return a boolean: ``0``, ``1``, ``true`` or ``false`` in any case."""
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("must be 0 or 1")
    return text.lower() in ("1", "true")


def broker(text: str) -> str:
    """Check and return a broker's URL, or several separated by semicolons."""
    broker_url.check_files(broker_url.parse(text).files)
    return text


def archive(text: str) -> str:
    """Return the SQLAlchemy URL of a database that can hold the archive."""
    if not ARCHIVE.match(text):
        # The message does not quote the text, which may contain a password.
        raise ValueError(
            "must be postgresql://user:password@host/name, or sqlite:/// and the path of a file"
        )
    return text


def queue_type(text: str) -> str:
    """Return a type of RabbitMQ queue."""
    if text not in ("classic", "quorum"):
        raise ValueError("must be classic or quorum")
    return text


def async_mode(text: str) -> str:
    """Return an async mode of a server."""
    if text not in ASYNC_MODES:
        raise ValueError(f"must be {' or '.join(ASYNC_MODES)}")
    return text


def log_format(text: str) -> str:
    """Return a log format."""
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
    """Return an HTTP or HTTPS URL."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return text


def capture(text: str) -> tuple[str, ...]:
    """Return the sources whose output is captured; ``none`` means no source."""
    kinds = () if text == "none" else listed(text)
    if unknown := [kind for kind in kinds if kind not in CAPTURES]:
        raise ValueError(f"may list {', '.join(CAPTURES)}, or be none; not {unknown[0]!r}")
    return kinds


def level(text: str) -> int:
    """Return a logging level, given by its name."""
    value = logging.getLevelNamesMapping().get(text.upper())
    if value is None:
        raise ValueError("must be a level of logging: DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return value


def secrets(text: str) -> tuple[str, ...]:
    """Return keys that are long enough to sign with."""
    keys = listed(text)
    check_keys(keys)
    return keys


def check_keys(keys: Iterable[object]) -> None:
    """Check keys.

    Raises:
        ValueError: a key is no string, or has fewer than ``SECRET_BYTES`` bytes.
    """
    for key in keys:
        if not isinstance(key, str):
            raise ValueError("must be one or several strings")
        if len(key.encode()) < SECRET_BYTES:
            raise ValueError(
                f"has a key shorter than {SECRET_BYTES} bytes; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )


def origins(text: str) -> tuple[str, ...]:
    """Return origins of browser pages."""
    found = listed(text)
    for one in found:
        if not ORIGIN.fullmatch(one):
            raise ValueError(f"must list origins such as https://app.example.com, not {one!r}")
    return found


def networks(text: str) -> tuple[IPv4Network | IPv6Network | str, ...]:
    """Return networks; an address is a network of one, and ``unix`` is returned as text."""
    try:
        return tuple(one if one == "unix" else _network(one) for one in listed(text))
    except ValueError as error:
        raise ValueError(
            f"must list addresses or networks such as 10.0.0.0/8, or unix: {error}"
        ) from None


def _network(text: str) -> IPv4Network | IPv6Network:
    """Return a network; an IPv4-mapped IPv6 network becomes an IPv4 network."""
    from ipaddress import IPv6Network, ip_network

    network = ip_network(text)
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped):
        return ip_network((mapped, network.prefixlen - 96))
    return network


def function(text: str) -> str:
    """Return the name of a function that is imported later."""
    module, _, name = text.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError("must name a function as package.module:function")
    return text


def authorities(text: str) -> Path:
    """Return the path of a file with CA certificates."""
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


def root(text: str) -> Path:
    """Return the path of a folder to which jobs are confined; it need not exist on this host."""
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise ValueError(f"must be an absolute path such as /srv/data, not {text!r}")
    real = path.resolve()
    if real == Path(real.anchor) or any(real.is_relative_to(one) for one in NO_ROOTS):
        raise ValueError(f"must be a folder of files, which {text!r} is not")
    return path


def roots(text: str) -> tuple[Path, ...]:
    """Return paths of folders to which jobs are confined."""
    return tuple(root(one) for one in listed(text))


def databases(text: str) -> tuple[tuple[str, str], ...]:
    """Return names of databases with their URLs."""
    found = [DATABASE.fullmatch(one) for one in listed(text)]
    pairs = tuple((match[1], match[2]) for match in found if match)
    # The message quotes no part of the text, which may contain a password.
    if len(pairs) < len(found) or len(dict(pairs)) < len(pairs):
        raise ValueError(
            "must list databases such as sales=postgresql+psycopg://user:password@host/name, each "
            "name once (a comma inside a URL is written %2C)"
        )
    return pairs
