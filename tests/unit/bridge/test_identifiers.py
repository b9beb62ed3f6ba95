"""Identifiers: one rule for owners, jobs, names and rooms, wherever one is given."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import Bridge, Grant, Settings, tokens
from bridge.errors import (
    EnqueueError,
    EventError,
    JobNotFound,
    SettingsError,
    TaskbridgeError,
    TokenError,
)
from bridge.identifiers import flaw
from bridge.protocol.event import RESERVED, Event
from bridge.testing import MemoryBridge
from support.lone_server import SECRET, LoneClient, new_lone_server

#: What no owner, and no id, may be.
WRONG: list[Any] = [
    *(42, 1.5, True, b"ada", ["ada"], {"ada": 1}, object()),
    *("", "a" * 256, "a\0b", "a\nb", "\x1b]52;c;\a", "\x7f", "\x9b", "\ud800", "a\udfff"),
]


def named(value):
    return ascii(value)[:20] if isinstance(value, str | int | float) else type(value).__name__


wrong = pytest.mark.parametrize("value", WRONG, ids=named)


@pytest.fixture
def bridge(tmp_path):
    return Bridge(settings=Settings(home=tmp_path, secret=(SECRET,), broker_url="memory://"))


@pytest.fixture
def shards(tmp_path):
    """A bridge that must compute an owner's shard first."""
    return Bridge(settings=Settings(home=tmp_path, secret=(SECRET,), shards=4))


def assert_says_it_in_a_sentence(call, error: type[TaskbridgeError]):
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "must" in text or "needs" in text
    assert "\n" not in text
    assert flaw(text) is None  # and quotes nothing of what was given


@wrong
def test_no_job_is_enqueued_for_an_owner_that_cannot_be(bridge, shards, value):
    for one in (bridge, shards, MemoryBridge()):
        assert_says_it_in_a_sentence(lambda one=one: one.enqueue("t", owner=value), EnqueueError)
        assert_says_it_in_a_sentence(lambda one=one: one.enqueue(value), EnqueueError)
        assert_says_it_in_a_sentence(lambda one=one: one.enqueue("t", title=value), EnqueueError)
        assert_says_it_in_a_sentence(
            lambda one=one: one.owner(value).__enter__(),
            EnqueueError,
        )


@wrong
def test_no_token_is_signed_for_an_owner_or_a_job_that_cannot_be(bridge, shards, value):
    for one in (bridge, shards):
        assert_says_it_in_a_sentence(lambda one=one: one.token(owner=value), SettingsError)
        assert_says_it_in_a_sentence(lambda one=one: one.token(jobs=[value]), SettingsError)
        assert_says_it_in_a_sentence(
            lambda one=one: one.token(owner=value, jobs=["j"]), SettingsError
        )
        assert_says_it_in_a_sentence(lambda one=one: one.shard(value), SettingsError)
    assert_says_it_in_a_sentence(lambda: Grant(owner=value), SettingsError)
    assert_says_it_in_a_sentence(lambda: Grant(jobs=frozenset(["j"]) | _set(value)), SettingsError)


def _set(value):
    try:
        return {value}
    except TypeError:  # what cannot be in a set
        return {""}


@wrong
def test_no_job_has_an_id_that_cannot_be(bridge, shards, value):
    for one in (bridge, shards):
        for call in (one.status, one.watch, one.cancel, one.request_cancel):
            assert_says_it_in_a_sentence(lambda call=call: call(value), JobNotFound)


def test_none_is_no_id_either(bridge):
    for call in (bridge.status, bridge.watch, bridge.cancel, bridge.request_cancel):
        assert_says_it_in_a_sentence(lambda call=call: call(None), JobNotFound)
    assert_says_it_in_a_sentence(lambda: bridge.owner(None), EnqueueError)


@wrong
def test_nothing_is_pushed_to_what_cannot_be(bridge, value):
    for where in ("owner", "job", "room"):
        assert_says_it_in_a_sentence(
            lambda where=where: bridge.push("notice", {}, **{where: value}), EnqueueError
        )
    assert_says_it_in_a_sentence(lambda: bridge.push(value, {}, owner="ada"), EnqueueError)


@pytest.mark.parametrize("jobs", ["5b0c", 42, None, {"j": 1}.get, [1], [None]], ids=named)
def test_jobs_of_a_token_are_a_list_of_ids_and_not_one_string(bridge, jobs):
    assert_says_it_in_a_sentence(lambda: bridge.token(jobs=jobs), SettingsError)


@pytest.mark.parametrize("scope", [42, None, [1], b"watch", [b"watch"]], ids=named)
def test_a_scope_of_another_kind_is_refused_in_a_sentence(bridge, scope):
    assert_says_it_in_a_sentence(lambda: bridge.token(owner="ada", scope=scope), SettingsError)
    assert_says_it_in_a_sentence(lambda: Grant(owner="ada", scope=scope), SettingsError)


@pytest.mark.parametrize("ttl", ["60", None, [60]], ids=named)
def test_a_life_that_is_no_number_is_refused_in_a_sentence(bridge, ttl):
    assert_says_it_in_a_sentence(lambda: bridge.token(owner="ada", ttl=ttl), SettingsError)


@pytest.mark.parametrize("expires", ["soon", None, float("nan"), True, [1]], ids=named)
def test_a_grant_whose_end_is_no_number_is_refused(expires):
    assert_says_it_in_a_sentence(lambda: Grant(owner="ada", expires=expires), SettingsError)


def test_a_grant_takes_collections_of_any_kind_as_functions_of_applications_return_them():
    grant = Grant(owner="ada", jobs=["a", "b"], scope="watch cancel")
    assert (grant.jobs, grant.scope) == (frozenset("ab"), frozenset({"watch", "cancel"}))
    assert Grant(owner="ada", scope={"watch"}).allows("watch")
    assert not Grant(owner="ada", scope="watch").allows("wat")


#: What of it can be in JSON, and so in a token or a request of a client that somebody else wrote.
in_json = pytest.mark.parametrize(
    "value", [one for one in WRONG if isinstance(one, str | int | float | list | dict)], ids=named
)


@in_json
def test_a_token_that_was_signed_elsewhere_with_such_a_claim_is_refused(value):
    for claims in ({"sub": value, "jobs": ["j"]}, {"jobs": ["j", value]}):
        said = {"exp": time.time() + 60, "scope": "watch", **claims}
        token = jwt.PyJWS().encode(json.dumps(said).encode(), SECRET, algorithm="HS256")
        with pytest.raises(TokenError, match="the token is not valid"):
            tokens.verify([SECRET], token)


@in_json
def test_a_request_that_names_such_a_job_is_refused_as_malformed(value):
    client = LoneClient(new_lone_server())
    client.connect(tokens.sign([SECRET], owner="ada", scope="watch cancel enqueue"))
    for request in ("watch", "cancel", "unwatch"):
        assert client.ask(request, {"job": value})["error"]["code"] == "bad_request"
    assert client.ask("enqueue", {"name": value})["error"]["code"] == "bad_request"


@pytest.mark.parametrize("field", ["job", "task", "owner", "name"])
def test_an_event_whose_ids_cannot_be_expressed_is_no_event(field):
    event = {**Event(job="j", task="j", type="queued", at=1.0).encode(), field: "\ud800"}
    with pytest.raises(EventError, match=field):
        Event.decode(json.loads(json.dumps(event)))


def test_an_event_whose_queue_or_host_cannot_be_expressed_is_no_event():
    emitter = {"host": "\ud800", "pid": 1, "since": 1, "published": 1, "failures": 0, "dropped": 0}
    for data in ({"queue": "\ud800"}, {"emitter": emitter}):
        with pytest.raises(EventError, match="data"):
            Event.decode(Event(job="j", task="j", type="queued", at=1.0, data=data).encode())


@given(st.text(min_size=1, max_size=255))
def test_what_is_an_identifier_can_be_signed_and_comes_back(value):
    if flaw(value) is None:
        token = tokens.sign([SECRET], owner=value, jobs=[value])
        grant = tokens.verify([SECRET], token)
        assert (grant.owner, grant.jobs) == (value, {value})
        Event.decode(Event(job=value, task=value, owner=value, type="queued", at=1.0).encode())


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_push_has_no_name_of_the_protocols(bridge, name):
    with pytest.raises(EnqueueError, match="the protocol uses that name"):
        bridge.push(name, 1, owner="me")
