"""A RabbitMQ that somebody else runs, as a service of a CI machine."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request
import uuid

__all__ = ["RabbitMQService"]


class RabbitMQService:
    """Makes virtual hosts by its management API, as :class:`support.rabbitmq.RabbitMQ` does.

    Args:
        api: its URL, with user and password.
    """

    def __init__(self, api: str) -> None:
        self._api = urllib.parse.urlsplit(api)

    def new_vhost(self) -> str:
        """Make an empty virtual host and return its URL."""
        name, at = f"test-{uuid.uuid4().hex}", self._api
        self._put(f"/api/vhosts/{name}", {})
        allowed = dict.fromkeys(("configure", "write", "read"), ".*")
        self._put(f"/api/permissions/{name}/{at.username}", allowed)
        return f"amqp://{at.username}:{at.password}@{at.hostname}:5672/{name}"

    def _put(self, path: str, body: dict[str, str]) -> None:
        at = self._api
        login = base64.b64encode(f"{at.username}:{at.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{at.hostname}:{at.port}{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=30).close()
