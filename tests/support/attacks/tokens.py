"""Tokens that are none."""

from __future__ import annotations

import base64
import json
import time
import warnings
from contextlib import ExitStack
from typing import Any

import jwt

from bridge import tokens
from support.attacks import Target, attack

OTHER_KEY = "another key that is long enough but not the server's"


def refused(target: Target, *tokens: Any) -> None:
    """Assert that none of the tokens opens anything."""
    with ExitStack() as stack:
        raws = [stack.enter_context(target.raw().open()) for _ in tokens]
        for raw, token in zip(raws, tokens, strict=True):
            answer = raw.connect(token)
            assert answer.startswith("44/jobs,"), answer
            assert json.loads(answer[8:])["data"]["code"] == "unauthorized"
            # And it is in nothing: whatever it asks now is not even answered.
            raw.say('42/jobs,1["jobs",{}]')
        for raw in raws:
            raw.await_end()


def signed(target: Target, key: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
    claims = {"sub": target.owner, "scope": "watch", "exp": time.time() + 60, **claims}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a key that is short for another algorithm
        return jwt.encode(claims, key or target.bridge.settings.keys[0], algorithm=algorithm)


@attack
def token_of_a_foreign_key(target: Target) -> None:
    refused(target, signed(target, OTHER_KEY))


@attack
def token_that_expired(target: Target) -> None:
    keys = target.bridge.settings.keys
    refused(target, tokens.sign(keys, owner=target.owner, clock=lambda: time.time() - 3600))


@attack
def token_without_an_algorithm(target: Target) -> None:
    claims = {"sub": target.owner, "scope": "watch", "exp": time.time() + 60}
    tokens = []
    for name in ("none", "None", "nOnE"):
        parts = [{"alg": name, "typ": "JWT"}, claims]
        pieces = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
        tokens.append(b".".join([*pieces, b""]).decode())
    refused(target, *tokens)


@attack
def token_of_another_algorithm(target: Target) -> None:
    refused(target, signed(target, algorithm="HS512"))


@attack
def token_whose_claims_were_exchanged(target: Target) -> None:
    head, _, signature = signed(target, sub="intruder").split(".")
    forged = signed(target, OTHER_KEY).split(".")[1]
    refused(target, f"{head}.{forged}.{signature}")


@attack
def token_for_another_application(target: Target) -> None:
    refused(target, signed(target, aud="another application"))


@attack
def token_with_claims_of_another_shape(target: Target) -> None:
    shapes = ({"jobs": {"a": 1}}, {"exp": "soon"}, {"sub": ["victim"]}, {"scope": ["watch"]})
    refused(target, *(_unchecked(target, claims) for claims in shapes))


def _unchecked(target: Target, claims: dict[str, Any]) -> str:
    claims = {"sub": target.owner, "scope": "watch", "exp": time.time() + 60, **claims}
    payload = json.dumps(claims).encode()
    return jwt.PyJWS().encode(payload, target.bridge.settings.keys[0], algorithm="HS256")


@attack
def token_that_is_no_token(target: Target) -> None:
    refused(target, None, 7, [], {"a": {"b": 1}}, "", "x" * 20_000, "a.b.c", "\ud800")


@attack
def token_in_the_query(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    with target.raw() as raw:
        path = f"/socket.io/?EIO=4&transport=websocket&token={token}&auth={token}"
        assert raw.upgrade(path=path).status == 101
        raw.message()
        raw.say("40/jobs,")
        assert '"code":"unauthorized"' in raw.message()
    assert token not in target.log()


@attack
def token_in_a_cookie_or_header(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    with target.raw() as raw:
        raw.upgrade(f"Cookie: token={token}", f"Authorization: Bearer {token}")
        raw.message()
        raw.say("40/jobs,")
        assert '"code":"unauthorized"' in raw.message()
