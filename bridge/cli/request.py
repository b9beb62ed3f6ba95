"""``request``: makes one request to the socket server over Socket.IO."""

from __future__ import annotations

import socketio

from bridge.cli.console import echo
from bridge.client.bridge import Bridge
from bridge.client.socket_client import SocketClient
from bridge.client.status import shard_of_job
from bridge.client.watch_state import refusal
from bridge.errors import ServerUnavailable
from bridge.protocol.event import NAMESPACE
from bridge.protocol.json_types import JSONObject

__all__ = ["cancel", "request"]

#: Seconds to wait for an answer.
TIMEOUT = 10


def request(
    bridge: Bridge, name: str, payload: JSONObject, token: str, shard: int | None = None
) -> JSONObject:
    """Make one request, and return the server's answer.

    Args:
        bridge: bridge whose settings have the server's URL.
        name: name of the request.
        payload: data of the request.
        token: token with the request's scope.
        shard: shard whose servers are asked; None if there is only one.

    Raises:
        ServerUnavailable: no server answers.
        JobNotFound, TokenError, TaskbridgeError: the server refused.
    """
    url = bridge.settings.url_of(shard)
    client = SocketClient(reconnection=False)
    try:
        client.dial(url, {"token": token}, bridge.settings.socket_path)
        answer: JSONObject = client.call(name, payload, namespace=NAMESPACE, timeout=TIMEOUT)
    except socketio.exceptions.SocketIOError as error:
        text = f"the socket server at {url} did not answer within {TIMEOUT} s: look at its log"
        raise ServerUnavailable(text) from error
    finally:
        client.shutdown()
    if not answer["ok"]:
        raise refusal(answer["error"])
    return answer


def cancel(bridge: Bridge, job: str) -> None:
    """Ask the server to cancel a job, and print its answer.

    Raises:
        ServerUnavailable, JobNotFound, TokenError, TaskbridgeError: as :func:`request` does.
    """
    shard = shard_of_job(bridge, job)
    token = bridge.token(jobs=[job], scope="cancel", shard=shard)
    answer = request(bridge, "cancel", {"job": job}, token, shard)
    already = "already " if answer["state"] == "cancelling" else ""
    echo(f"{already}cancelling {job}")
