"""``taskbridge run-again``, and ``taskbridge jobs`` with ``--run-again`` or ``--cancel``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import click

from bridge.cli.console import echo, echo_json
from bridge.cli.listing import AWAY, OPERATOR, shards_of
from bridge.cli.request import request
from bridge.client.bridge import Bridge
from bridge.client.status import shard_of_job
from bridge.protocol.json_types import JSONObject

__all__ = ["act", "run_again"]

#: Scopes of the token of each action.
SCOPES = {"run_again": "watch enqueue", "cancel": "watch cancel"}
QUESTIONS = {"run_again": "Run {} again?", "cancel": "Cancel {}?"}
#: Reasons of a kind that are printed, before they are only counted.
SHOWN = 10


def run_again(bridge: Bridge, job: str, key: str | None, *, resume: bool) -> None:
    """Ask the server to run a job again, and print the id of the new job.

    Args:
        bridge: bridge whose settings have the server's URL and the key of tokens.
        job: id of the job.
        key: idempotency key; None for a new one.
        resume: whether its task goes on from its checkpoint.

    Raises:
        ServerUnavailable, JobNotFound, TokenError, TaskbridgeError: as ``request`` does.
    """
    shard = shard_of_job(bridge, job)
    token = bridge.token(owner=OPERATOR, scope="enqueue operate", shard=shard)
    payload = {"job": job, "key": key or str(uuid.uuid4()), "resume": resume}
    echo(request(bridge, "run_again", payload, token, shard)["job"])


def act(
    bridge: Bridge,
    owner: str | None,
    wanted: JSONObject,
    action: str,
    *,
    yes: bool,
    key: str | None,
    as_json: bool,
) -> int:
    """Say how many jobs a filter finds, ask, and run them again or cancel them.

    Args:
        bridge: bridge whose settings have the server's URL and the key of tokens.
        owner: owner of the jobs; None for all owners.
        wanted: fields of the filter.
        action: ``run_again`` or ``cancel``.
        yes: whether to do it without a question.
        key: idempotency key; None for a new one.
        as_json: whether to print a line of JSON for each job.

    Returns:
        Exit status: 0, or 1 if a job was refused or the answer to the question was no.
    """
    payload = {"action": action, "filter": wanted}
    if not yes and not _agreed(bridge, owner, payload, action):
        return 1
    payload["key"] = key or str(uuid.uuid4())
    refused = 0
    for answer in _answers(bridge, owner, payload, action):
        for one in answer["jobs"]:
            echo_json(one) if as_json else echo(_line(one))
        for one in answer["refused"]:
            echo_json(one) if as_json else echo(f"{one['job']}: {one['message']}", err=True)
        refused += len(answer["refused"])
    return 1 if refused else 0


def _line(one: JSONObject) -> str:
    return f"{one['job']} repeats {one['again_of']}" if "again_of" in one else str(one["job"])


def _agreed(bridge: Bridge, owner: str | None, payload: JSONObject, action: str) -> bool:
    count, refused = 0, []
    for answer in _answers(bridge, owner, {**payload, "preview": True}, action):
        count += len(answer["jobs"])
        refused += answer["refused"]
    for one in refused[:SHOWN]:
        echo(f"{one['job']}: {one['message']}", err=True)
    if len(refused) > SHOWN:
        echo(f"and {len(refused) - SHOWN} more that cannot", err=True)
    if not count:
        echo("no job was found that can" if refused else "no job was found", err=True)
        return False
    jobs = "1 job" if count == 1 else f"{count:,} jobs"
    return click.confirm(QUESTIONS[action].format(jobs), err=True)


def _answers(
    bridge: Bridge, owner: str | None, payload: JSONObject, action: str
) -> Iterator[JSONObject]:
    """Yield the answers of all shards, until nothing is left."""
    scope = SCOPES[action] if owner else f"{SCOPES[action]} operate"
    for shard in shards_of(bridge, owner):
        token = bridge.token(owner=owner or OPERATOR, scope=scope, shard=shard)
        position: JSONObject = {}
        while True:
            answer = request(bridge, "bulk", {**payload, **position}, token, shard)
            if answer.get("archive_away"):
                echo(AWAY, err=True)
            yield answer
            if not answer.get("next"):
                break
            position = {"next": answer["next"]}
