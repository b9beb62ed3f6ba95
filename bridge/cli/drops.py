"""Checks whether a job ends if RabbitMQ drops its message; asks RabbitMQ's management API."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from bridge.instrumentation import dropped_messages
from bridge.protocol.json_types import JSONObject
from bridge.settings import Settings

__all__ = ["describe"]

#: Name of the queue that is checked, in which taskbridge's own applications enqueue.
QUEUE = "celery"
#: Timeout of a request to the API, in seconds.
TIMEOUT = 3.0
REMEDY = "set a policy that dead-letters them to {dead} (docs/operations.md, Dropped messages)"


def describe(settings: Settings, vhost: str) -> str:
    """Return a sentence that says whether jobs end whose messages the broker drops.

    Args:
        settings: settings with the API's URL and the channel.
        vhost: name of the virtual host of tasks.

    Raises:
        OSError: the API does not answer, or refuses.
        ValueError: the answer is not JSON.
    """
    dead, api = dropped_messages.queue_name(settings), settings.broker_api or ""
    place = quote(vhost, safe="")
    queue = _get(api, f"queues/{place}/{QUEUE}")
    rules = {**_policy(queue), **_arguments(queue)}
    exchange = rules.get("dead-letter-exchange")
    if exchange == "" and rules.get("dead-letter-routing-key") == dead:
        return f"those that queue {QUEUE} drops end their jobs ({dead})"
    if exchange and _get(api, f"bindings/{place}/e/{quote(exchange, safe='')}/q/{dead}"):
        return f"those that queue {QUEUE} drops end their jobs ({exchange}, {dead})"
    limit = rules.get("delivery-limit", queue.get("delivery_limit", "20 by default on RabbitMQ 4"))
    quorum = f", and after its delivery limit ({limit})" if queue.get("type") == "quorum" else ""
    return (
        f"jobs wait for ever whose messages queue {QUEUE} drops, by message-ttl, max-length or "
        f"rejection{quorum}: {REMEDY.format(dead=dead)}"
    )


def _policy(queue: JSONObject) -> JSONObject:
    rules = queue.get("effective_policy_definition")
    return rules if isinstance(rules, dict) else {}


def _arguments(queue: JSONObject) -> JSONObject:
    told = queue.get("arguments")
    given = told if isinstance(told, dict) else {}
    return {name.removeprefix("x-"): value for name, value in given.items()}


def _get(api: str, path: str) -> Any:
    """Return the API's decoded answer; the login in its URL is sent as a header."""
    at = urlsplit(f"{api.rstrip('/')}/{path}")
    host = at.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit(at._replace(netloc=host)))
    if at.username:
        login = f"{at.username}:{at.password or ''}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.load(answer)
