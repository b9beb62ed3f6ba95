"""Parsers of the settings of webhooks; each raises ``ValueError`` with the end of a sentence.

No message quotes a text that may contain a secret, which a URL may as well.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["NAME", "check", "endpoints", "key_of", "networks", "secrets"]

#: Matches the name of a webhook.
NAME = re.compile(r"[A-Za-z0-9][\w-]{0,62}", re.ASCII)
#: Beginning of a secret, before its key in Base64, and the bytes that a key has: those of Standard
#: Webhooks.
SECRET, KEY_BYTES = "whsec_", (24, 64)
#: Matches the host of a URL: a name or an address, without the zone of an IPv6 address.
HOST = re.compile(r"[\w.-]+|[\da-f:.]+", re.ASCII | re.IGNORECASE)
HOW = "python -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"


def endpoints(text: str) -> tuple[tuple[str, str], ...]:
    """Return names of webhooks with their URLs."""
    pairs = _pairs(text)
    if len(dict(pairs)) < len(pairs) or not all(_is_url(url) for _, url in pairs):
        raise ValueError(
            "must list webhooks such as billing=https://hooks.example.com/jobs, each name once: "
            "names of letters, digits, _ and -, and URLs without a login, a fragment or spaces (a "
            "comma inside a URL is written %2C)"
        )
    return pairs


def secrets(text: str) -> tuple[tuple[str, str], ...]:
    """Return names of webhooks with their secrets; a name may have several."""
    pairs = _pairs(text)
    low, high = KEY_BYTES
    if not all(low <= len(key_of(secret)) <= high for _, secret in pairs):
        raise ValueError(
            f"must list secrets such as billing=whsec_…, of {low} to {high} bytes in Base64; make "
            f"one with: {HOW}"
        )
    return pairs


def key_of(secret: str) -> bytes:
    """Return the key in a secret; nothing if it is no secret."""
    try:
        return base64.b64decode(secret.removeprefix(SECRET), validate=True)
    except ValueError:
        return b""


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return networks; an address is a network of one."""
    from ipaddress import ip_network

    parts = (part.strip() for part in text.split(","))
    try:
        return tuple(ip_network(part) for part in parts if part)
    except ValueError as error:
        raise ValueError(f"must list addresses or networks such as 10.0.0.0/8: {error}") from None


def check(
    urls: tuple[tuple[str, str], ...], secrets: tuple[tuple[str, str], ...], http: bool
) -> str | None:
    """Return why settings of webhooks do not fit one another, as a sentence; None if they do.

    Args:
        urls: ``TASKBRIDGE_WEBHOOKS``.
        secrets: ``TASKBRIDGE_WEBHOOK_SECRETS``.
        http: ``TASKBRIDGE_WEBHOOK_HTTP``.
    """
    named, signed = dict(urls), dict(secrets)
    for name, url in urls:
        if name not in signed:
            return f"the webhook {name} has no secret: add {name}=whsec_… to " + _VARIABLE
        if not http and not url.lower().startswith("https:"):
            return (
                f"the webhook {name} must have an https:// URL, or set TASKBRIDGE_WEBHOOK_HTTP=1: "
                "without TLS, others can read what is delivered"
            )
    stray = next((name for name in signed if name not in named), None)
    if stray is None:
        return None
    return f"{_VARIABLE} has a secret of {stray}, which TASKBRIDGE_WEBHOOKS does not name"


_VARIABLE = "TASKBRIDGE_WEBHOOK_SECRETS"


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a list ``name=value``; a part that is none has an empty value."""
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = part.partition("=")
        found.append((name, value if NAME.fullmatch(name) else ""))
    return tuple(found)


def _is_url(text: str) -> bool:
    """Whether a text is an HTTP URL whose host all programs read in the same way."""
    if not re.fullmatch(r"[!-~]+", text) or "\\" in text or "#" in text:
        return False
    try:
        parts = urlsplit(text)
        sound = parts.port is None or parts.port > 0
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and "@" not in parts.netloc
    return known and sound and _is_host(parts.hostname or "")


def _is_host(text: str) -> bool:
    """Whether a text is a name or an address, but not a number that some programs read as one."""
    if not HOST.fullmatch(text):
        return False
    last = text.rstrip(".").rpartition(".")[2]
    if ":" not in text and not re.fullmatch(r"\d+|0x[\da-f]*", last):
        return True
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True
