"""``taskbridge run-again``, and ``taskbridge jobs`` with ``--run-again`` or ``--cancel``."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from bridge.cli.actions.repeater import Repeater
from bridge.cli.console import echo, echo_json
from bridge.cli.listing import AWAY, OPERATOR, shards_of
from bridge.cli.request import TemporaryRefusal, request
from bridge.client.bridge import Bridge
from bridge.client.status import shard_of_job
from bridge.errors import ServerUnavailable, TaskbridgeError
from bridge.protocol.json_types import JSONObject

__all__ = ["act", "run_again"]

#: Scopes of the token of each action.
SCOPES = {"run_again": "watch enqueue", "cancel": "watch cancel"}
QUESTIONS = {"run_again": "Run {} again?", "cancel": "Cancel {}?"}
#: Reasons of a kind that are printed, before they are only counted.
SHOWN = 10
#: Seconds for which temporary refusals are waited for, since a job was run again last.
LIMIT = 120.0
REPEAT = "to ask again without running a job twice, repeat the command with --key {}"


def run_again(bridge: Bridge, job: str, key: str | None, *, resume: bool) -> None:
    """Ask the server to run a job again, and print the id of the new job.

    A temporary refusal is waited for. Where the job may have been run, the key is printed.

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
    key = key or str(uuid.uuid4())
    payload = {"job": job, "key": key, "resume": resume}
    with _key_told(key, ServerUnavailable, TemporaryRefusal, KeyboardInterrupt):
        ask = partial(request, bridge, "run_again", payload, token, shard)
        echo(Repeater(LIMIT).answer(ask)["job"])


@contextmanager
def _key_told(key: str, *errors: type[BaseException]) -> Iterator[None]:
    """Print, on some errors, with which key to repeat the command."""
    try:
        yield
    except errors:
        _tell(key)
        raise


def _tell(key: str) -> None:
    echo(REPEAT.format(shlex.quote(key)), err=True)


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

    What is refused temporarily is run again later. If jobs are left, the key is printed.

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
    payload["key"] = key = key or str(uuid.uuid4())
    if action == "cancel":
        return 1 if _act(_answers(bridge, owner, payload, action), as_json) else 0
    with _key_told(key, TaskbridgeError, KeyboardInterrupt):
        refused = _act(_answers(bridge, owner, payload, action, LIMIT), as_json)
    if refused:
        _tell(key)
    return 1 if refused else 0


def _act(answers: Iterator[JSONObject], as_json: bool) -> int:
    """Print answers as they come; return how many jobs were refused."""
    refused = 0
    for answer in answers:
        for one in answer["jobs"]:
            echo_json(one) if as_json else echo(_line(one))
        for one in answer["refused"]:
            echo_json(one) if as_json else echo(f"{one['job']}: {one['message']}", err=True)
        refused += len(answer["refused"])
    return refused


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
    bridge: Bridge, owner: str | None, payload: JSONObject, action: str, limit: float = 0.0
) -> Iterator[JSONObject]:
    """Yield the answers of all shards, until nothing is left; temporary refusals are waited for.

    Args:
        bridge: bridge.
        owner: owner of the jobs; None for all owners.
        payload: the request.
        action: its action.
        limit: seconds without progress after which nothing is waited for; default 0.
    """
    scope = SCOPES[action] if owner else f"{SCOPES[action]} operate"
    repeater = Repeater(limit)
    for shard in shards_of(bridge, owner):
        position: JSONObject = {}
        while True:
            page = {**payload, **position}
            ask = partial(_ask, bridge, owner or OPERATOR, scope, page, shard)
            for answer in repeater.answers(ask):
                yield answer
            if answer.get("archive_away"):
                echo(AWAY, err=True)
            if not answer.get("next"):
                break
            position = {"next": answer["next"]}


def _ask(
    bridge: Bridge, owner: str, scope: str, payload: JSONObject, shard: int | None
) -> JSONObject:
    # Each request has a token of its own: the last may be made long after the first.
    token = bridge.token(owner=owner, scope=scope, shard=shard)
    return request(bridge, "bulk", payload, token, shard)
