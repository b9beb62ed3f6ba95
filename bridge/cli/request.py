"""One request to the socket server, as a client makes it."""

from __future__ import annotations

from typing import Any

import click
import socketio

from bridge.client import Bridge
from bridge.errors import JobNotFound, ServerUnavailable, TaskbridgeError, TokenError
from bridge.events import NAMESPACE

__all__ = ["cancel", "request"]

#: Seconds to wait for an answer.
TIMEOUT = 10


def request(bridge: Bridge, name: str, payload: dict[str, Any], token: str) -> dict[str, Any]:
    """Return the server's answer.

    Raises:
        ServerUnavailable: none answers.
        JobNotFound, TokenError, TaskbridgeError: it refused.
    """
    url = bridge.settings.server_url
    with socketio.SimpleClient(reconnection=False, handle_sigint=False) as client:
        try:
            client.connect(
                url, namespace=NAMESPACE, auth={"token": token}, transports=["websocket"]
            )
            answer: dict[str, Any] = client.call(name, payload, timeout=TIMEOUT)
        except socketio.exceptions.SocketIOError as error:
            text = f"no socket server answers at {url}: start it, or set TASKBRIDGE_URL"
            raise ServerUnavailable(text) from error
    if not answer["ok"]:
        kinds = {"not_found": JobNotFound, "unauthorized": TokenError}
        refusal = answer["error"]
        raise kinds.get(refusal["code"], TaskbridgeError)(refusal["message"])
    return answer


def cancel(bridge: Bridge, job: str) -> None:
    """Ask the server to cancel a job, and say so.

    Raises:
        ServerUnavailable, JobNotFound, TokenError, TaskbridgeError: as :func:`request` does.
    """
    answer = request(bridge, "cancel", {"job": job}, bridge.token(jobs=[job], scope="cancel"))
    already = "already " if answer["state"] == "cancelling" else ""
    click.echo(f"{already}cancelling {job}")
