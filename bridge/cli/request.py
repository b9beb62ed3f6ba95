"""One request to the socket server, as a client makes it."""

from __future__ import annotations

from typing import Any

import socketio

from bridge.cli.console import echo
from bridge.client import Bridge
from bridge.errors import JobNotFound, ServerUnavailable, TaskbridgeError, TokenError
from bridge.events import NAMESPACE
from bridge.status import shard_of_job

__all__ = ["cancel", "request"]

#: Seconds to wait for an answer.
TIMEOUT = 10


def request(
    bridge: Bridge, name: str, payload: dict[str, Any], token: str, shard: int | None = None
) -> dict[str, Any]:
    """Return the server's answer.

    Args:
        bridge: where the server is.
        name: of the request.
        payload: of the request.
        token: what it may do.
        shard: whose servers are asked, where there are several.

    Raises:
        ServerUnavailable: none answers.
        JobNotFound, TokenError, TaskbridgeError: it refused.
    """
    url = bridge.settings.url_of(shard)
    with socketio.SimpleClient(reconnection=False, handle_sigint=False) as client:
        try:
            client.connect(
                url,
                namespace=NAMESPACE,
                auth={"token": token},
                transports=["websocket"],
                socketio_path=bridge.settings.socket_path,
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
    shard = shard_of_job(bridge, job)
    token = bridge.token(jobs=[job], scope="cancel", shard=shard)
    answer = request(bridge, "cancel", {"job": job}, token, shard)
    already = "already " if answer["state"] == "cancelling" else ""
    echo(f"{already}cancelling {job}")
