"""Requests to the socket server: ``request`` over Socket.IO, and the log of a job over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote

import socketio

from bridge.cli.console import echo, echo_output
from bridge.client.bridge import Bridge
from bridge.client.socket_client import SocketClient
from bridge.client.status import shard_of_job
from bridge.client.watch_state import is_temporary, pause, refusal
from bridge.errors import ServerUnavailable, TaskbridgeError
from bridge.protocol.event import NAMESPACE
from bridge.protocol.json_types import JSONObject

__all__ = ["TemporaryRefusal", "cancel", "request", "show_log"]

#: Seconds to wait for an answer.
TIMEOUT = 10
#: Seconds to wait for each piece of a log, and bytes of a line of it that are printed at once.
PATIENCE, MAX_LINE = 30, 1024 * 1024


class TemporaryRefusal(TaskbridgeError):
    """The server refused a request that it may accept later.

    Args:
        error: the refusal, as it is in the protocol.
    """

    def __init__(self, error: JSONObject) -> None:
        super().__init__(str(refusal(error)))
        #: Seconds after which to ask again.
        self.wait = pause(error)


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
        TemporaryRefusal: the server refused, and may accept the same request later.
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
        refused = answer["error"]
        raise TemporaryRefusal(refused) if is_temporary(refused) else refusal(refused)
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


def show_log(bridge: Bridge, job: str) -> None:
    """Print a job's log: messages as they were logged, output as it was printed.

    Raises:
        ServerUnavailable: no server answers, or the answer breaks off.
        JobNotFound, TokenError, TaskbridgeError: the server refused.
    """
    shard = shard_of_job(bridge, job)
    url = bridge.settings.url_of(shard, f"/api/jobs/{quote(job, safe='')}/log")
    token = bridge.token(jobs=[job], shard=shard)
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            _print(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, url) from None
    except (OSError, HTTPException) as error:
        raise ServerUnavailable(f"no whole answer from {url}: {error}") from error


def _print(answer: HTTPResponse) -> None:
    while line := answer.readline(MAX_LINE):
        echo_output(line)


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    try:
        return refusal(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return ServerUnavailable(f"{url} answered with status {error.code}")
