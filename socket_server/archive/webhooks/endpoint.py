"""``Endpoint``: where a webhook is delivered to, and how it is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from bridge.settings import Settings
from bridge.settings.webhooks import key_of

__all__ = ["Endpoint", "endpoints_of"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook that the settings name."""

    name: str
    url: str = field(repr=False)
    #: Keys that sign, each by itself.
    keys: tuple[bytes, ...] = field(repr=False)

    def headers(self, message: str, at: int, body: bytes) -> dict[str, str]:
        """Return the headers of an attempt, by which a receiver verifies it (Standard Webhooks).

        Args:
            message: id of the message, the same in all attempts.
            at: time of the attempt, in seconds since the epoch.
            body: what is sent.
        """
        signed = f"{message}.{at}.".encode() + body
        digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in self.keys)
        return {
            "Content-Type": "application/json",
            "User-Agent": "taskbridge",
            "webhook-id": message,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(
                f"v1,{base64.b64encode(one).decode()}" for one in digests
            ),
        }


def endpoints_of(settings: Settings) -> dict[str, Endpoint]:
    """Return the endpoints that settings name, by name."""
    keys: dict[str, list[bytes]] = {name: [] for name, _ in settings.webhooks}
    for name, secret in settings.webhook_secrets:
        keys[name].append(key_of(secret))
    return {name: Endpoint(name, url, tuple(keys[name])) for name, url in settings.webhooks}
