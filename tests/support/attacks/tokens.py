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


def _headed(target: Target, header: dict[str, Any], key: str = OTHER_KEY) -> str:
    """Return a token with a header of its own, signed with a key that is not the server's."""
    claims = {"sub": target.owner, "scope": "watch", "exp": time.time() + 60}
    return jwt.encode(claims, key, algorithm="HS256", headers=header)


@attack
def token_that_brings_its_key(target: Target) -> None:
    key = base64.urlsafe_b64encode(OTHER_KEY.encode()).decode()
    headers = (
        {"kid": "../../../../dev/null"},
        {"kid": "x' UNION SELECT 'k"},
        {"jwk": {"kty": "oct", "k": key}},
        {"jku": f"http://{target.host}:{target.port}/static/keys.json"},
        {"x5u": "http://127.0.0.1:1/chain.pem"},
        {"x5c": [key]},
        {"crit": ["b64"], "b64": False},
        {"typ": "at+jwt", "cty": "JWT"},
    )
    refused(
        target, *(_headed(target, header) for header in headers), _headed(target, {}, "\0" * 32)
    )


@attack
def token_that_mixes_algorithms_up(target: Target) -> None:
    _, claims, signature = signed(target, OTHER_KEY).split(".")
    heads = (
        '{"alg":"RS256"}',
        '{"alg":"ES256"}',
        '{"alg":"hs256"}',
        '{"alg":["HS256"]}',
        "{}",
        '{"alg":"HS256","alg":"none"}',
        '{"alg":"none","alg":"HS256"}',
        '{"alg":null}',
    )
    tokens = []
    for head in heads:
        encoded = base64.urlsafe_b64encode(head.encode()).rstrip(b"=").decode()
        tokens += [f"{encoded}.{claims}.{signature}", f"{encoded}.{claims}."]
    refused(target, *tokens[:8])
    refused(target, *tokens[8:])


@attack
def token_that_is_not_valid_yet(target: Target) -> None:
    later = time.time() + 3600
    refused(target, signed(target, nbf=later), _unchecked(target, {"nbf": "soon"}))


@attack
def token_with_claims_beyond_measure(target: Target) -> None:
    shapes: tuple[dict[str, Any], ...] = (
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": -1},
        {"exp": 10**400},
        {"exp": [10**10]},
        {"sub": 42},
        {"sub": True},
        {"jobs": "all"},
        {"jobs": [target.job, 1]},
        {"jobs": [[target.job]]},
        {"scope": None},
        {"shard": "0"},
        {"shard": -1},
        {"shard": True},
    )
    refused(target, *(_unchecked(target, claims) for claims in shapes[:8]))
    refused(target, *(_unchecked(target, claims) for claims in shapes[8:]))


@attack
def token_without_what_it_needs(target: Target) -> None:
    for missing in ("exp", "scope"):
        claims = {"sub": target.owner, "scope": "watch", "exp": time.time() + 60}
        del claims[missing]
        refused(target, jwt.encode(claims, target.bridge.settings.keys[0], algorithm="HS256"))


@attack
def token_in_other_encodings(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    head, claims, signature = token.split(".")
    forms = (
        json.dumps({"protected": head, "payload": claims, "signature": signature}),
        f"{head}.{claims}",
        f"{head}.{claims}.",
        f"{head}..{signature}",
        f"{head}.{claims}.{signature}.{signature}.{signature}",
        f"{signature}.{claims}.{head}",
        f"{head}.{claims}.{signature[:-4]}",
    )
    refused(target, *forms)


@attack
def credentials_of_another_shape(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    for data in (
        f'"{token}"',
        f'["{token}"]',
        "7",
        "true",
        f'{{"token":["{token}"]}}',
        f'{{"token":{{"token":"{token}"}}}}',
        f'{{"Token":"{token}"}}',
        "null",
    ):
        with target.raw().open() as raw:
            raw.say(f"40/jobs,{data}")
            message = raw.message()
            assert message == "" or '"code":"unauthorized"' in message, (data, message)
