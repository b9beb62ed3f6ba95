"""Print RabbitMQ's definitions: virtual hosts, users with just their rights, policies, exchanges.

``python compose/rabbitmq/definitions.py --secrets FOLDER --output FILE``; each node reads the file
at each start (``load_definitions`` in its configuration), and makes anew what is not durable.
``--declare FILE`` makes the streams of events, once, when all nodes are up. They are not in the
definitions: a node of RabbitMQ 4.0 imports those before its streams are there, fails to bind one,
and does not start; and a node alone would make a stream without copies on the others.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import kombu

from bridge import Settings
from bridge.bus import stream, tls
from bridge.bus.connection import connect
from bridge.bus.sharding import channel_of
from bridge.instrumentation import dropped_messages

#: Virtual hosts.
EVENTS, TASKS = "events", "tasks"
TAGS = {"operator": ["administrator"], "flower": ["monitoring"]}
NONE, ALL = "^$", ".*"
#: How often a quorum queue may get a message back from workers that died, or that were stopped
#: while its task ran. RabbitMQ drops it at the next return, and the policy ends its job as failed.
DELIVERY_LIMIT = 20
#: What clients of Celery touch: its queue, and what its remote control and its answers travel on.
CELERY = ("^celery", r"^(celery.*|amq\.default)$", "^celery$")
#: What servers touch beside that: they ask workers about silent tasks, and read the answers.
_REPLIES = r"([^.]+\.)?reply\.celery\.pidbox"
ASKING = (
    rf"^(celery.*|{_REPLIES})$",
    rf"^(celery.*|amq\.default|{_REPLIES})$",
    rf"^(celery|{_REPLIES})$",
)
#: What Flower touches: events, remote control and its answers, but no task.
_FLOWER = r"^(celeryev.*|(.*\.)?celery\.pidbox)$"
FLOWER = (_FLOWER, _FLOWER, _FLOWER)


def rights(channel: str) -> dict[str, dict[str, tuple[str, str, str]]]:
    """Return for each user and virtual host what it may configure, write and read.

    Args:
        channel: ``TASKBRIDGE_CHANNEL``.
    """
    # With shards, each has a channel of its own.
    either = rf"^{channel}(\.[0-9]+)?(\.stream)?$"
    # From RabbitMQ 4.2.6 on, only who has some right to the stream may ask whether it exists. The
    # right to write gives no other: who may read no exchange binds the stream to none.
    write = (NONE, either, NONE)
    # A server binds the stream at each connect: a node that was restarted has lost its bindings to
    # the exchange, which is not durable.
    read = (NONE, either, either)
    return {
        "operator": {EVENTS: (ALL, ALL, ALL), TASKS: (ALL, ALL, ALL)},
        "worker": {EVENTS: write, TASKS: (ALL, ALL, ALL)},
        "server": {EVENTS: read, TASKS: ASKING},
        "service": {EVENTS: write, TASKS: CELERY},
        "flower": {TASKS: FLOWER},
        "archive": {EVENTS: (NONE, NONE, rf"^{channel}(\.[0-9]+)?\.stream$")},
    }


def definitions(passwords: dict[str, str], settings: Settings) -> dict[str, Any]:
    """Return the definitions.

    Args:
        passwords: of each user.
        settings: the channel, and what of it is kept.
    """
    allowed = rights(settings.channel)
    channels = [channel_of(settings, shard) for shard in range(settings.shards)]
    return {
        "vhosts": [{"name": EVENTS}, {"name": TASKS}],
        "users": [_user(user, passwords[user]) for user in allowed],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": one, "write": two, "read": three}
            for user, hosts in allowed.items()
            for vhost, (one, two, three) in hosts.items()
        ],
        "policies": [
            {
                "vhost": TASKS,
                "name": "taskbridge",
                "pattern": "^celery$",
                "apply-to": "queues",
                "priority": 0,
                "definition": _policy(settings),
            }
        ],
        "exchanges": [
            {
                "name": channel,
                "vhost": EVENTS,
                "type": "fanout",
                "durable": False,  # as python-socketio declares it
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for channel in channels
        ],
    }


def _policy(settings: Settings) -> dict[str, str | int]:
    """Return what holds for the queue of tasks."""
    # A policy with a key that a queue's type does not have does not apply to the queue at all.
    limit = {"delivery-limit": DELIVERY_LIMIT} if settings.queue_type == "quorum" else {}
    return {
        # To the queue of that name, where workers end the jobs of dropped messages.
        "dead-letter-exchange": "",
        "dead-letter-routing-key": dropped_messages.queue_name(settings),
        **limit,
    }


def declare(url: str, settings: Settings) -> None:
    """Make the streams, with a copy on each node of the cluster, and bind them."""
    with connect(settings, url, connect_timeout=5) as connection:
        for shard in range(settings.shards):
            channel = channel_of(settings, shard)
            exchange = kombu.Exchange(channel, type="fanout", durable=False)
            stream.declare(connection, exchange, settings.replace(channel=channel))


def _user(name: str, password: str) -> dict[str, Any]:
    salt = os.urandom(4)
    digest = salt + hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        # Flower asks the management API how long queues are.
        "tags": TAGS.get(name, []),
    }


def main() -> int:
    """Print them.

    Returns:
        Exit status: 0, or 1 if a secret is missing.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    folder = (
        "a file of each user's name, with its password: operator, worker, server, service, flower, "
        "archive"
    )
    parser.add_argument("--secrets", type=Path, help=folder)
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="changes nothing: the definitions of one node and of a cluster are the same",
    )
    whole = "a file with the operator's URL: make the streams now, once all nodes are up"
    parser.add_argument("--declare", type=Path, help=whole)
    parser.add_argument("--output", type=Path, help="default what it is started with")
    options, settings = parser.parse_args(), Settings.from_environ()
    if not (options.secrets or options.declare):
        parser.error("--secrets or --declare is needed")
    try:
        if options.declare:
            declare(options.declare.read_text().strip(), settings)
            return 0
        users = rights(settings.channel)
        passwords = {user: (options.secrets / user).read_text().strip() for user in users}
    except OSError as error:
        if tls.refused(error):
            sys.stderr.write(f"no trusted connection to the broker: {tls.explain(error)}\n")
            return 1
        sys.stderr.write(f"{error.filename}: {error.strerror}: put the user's secret there\n")
        return 1
    made = definitions(passwords, settings)
    text = json.dumps(made, indent=2) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
