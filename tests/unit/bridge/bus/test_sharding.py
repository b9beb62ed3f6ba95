"""Shards: who belongs where, and who is told that it is elsewhere."""

from __future__ import annotations

from operator import itemgetter

import pytest

from bridge import Bridge, tokens
from bridge.bus.sharding import channel_of, job_id, served_by, shard_of
from bridge.errors import SettingsError, WrongShard
from bridge.reporting.run import Run
from bridge.sending.emitter import Emitter
from bridge.sending.outbox import Push
from bridge.settings import Settings
from socket_server.watching.auth import Auth
from support.stack import SECRET

SHARDS = 4


def settings(**more):
    environ = {"TASKBRIDGE_SECRET": SECRET, "TASKBRIDGE_SHARDS": str(SHARDS), **more}
    return Settings.from_environ(environ)


@pytest.fixture
def bridge():
    return Bridge(settings=settings())


def test_a_key_has_one_shard_and_keys_are_spread_evenly():
    found = [shard_of(f"user-{number}", SHARDS) for number in range(4000)]
    assert shard_of("user-42", SHARDS) == found[42]
    assert all(900 < found.count(shard) < 1100 for shard in range(SHARDS))


def test_the_id_of_a_job_has_its_owners_shard_by_itself():
    for number in range(50):
        assert shard_of(job_id(f"o-{number}", SHARDS), SHARDS) == shard_of(f"o-{number}", SHARDS)
    assert len({shard_of(job_id(None, SHARDS), SHARDS) for _ in range(200)}) == SHARDS


def test_one_shard_travels_on_the_channel_itself_and_several_on_channels_of_their_own():
    assert channel_of(Settings(), 0) == "taskbridge"
    assert channel_of(settings(), 2) == "taskbridge.2"
    served = served_by(settings(TASKBRIDGE_SHARD="3"))
    assert (served.channel, served.shards) == ("taskbridge.3", 1)


def test_a_shard_beyond_the_last_is_refused():
    with pytest.raises(SettingsError, match="counted from 0"):
        settings(TASKBRIDGE_SHARD=str(SHARDS))


def test_a_token_names_the_shard_of_its_owner_or_of_its_jobs(bridge):
    def shard_in(token):
        return tokens.verify([SECRET], token).shard

    job = job_id("me", SHARDS)
    assert shard_in(bridge.token(owner="me")) == bridge.shard("me")
    assert shard_in(bridge.token(jobs=[job])) == bridge.shard("me")
    assert shard_in(bridge.token(jobs=["any"], shard=3)) == 3
    assert shard_in(Bridge(settings=Settings(secret=(SECRET,))).token(owner="me")) is None


def test_a_token_cannot_name_jobs_of_two_shards(bridge):
    jobs = {shard_of(job := job_id(None, SHARDS), SHARDS): job for _ in range(100)}
    with pytest.raises(SettingsError, match="of one shard"):
        bridge.token(jobs=jobs.values())


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_server_sends_away_whose_jobs_are_with_others(bridge, shard):
    auth, own = Auth(settings(TASKBRIDGE_SHARD=str(shard))), bridge.shard("me")
    credentials = {"token": bridge.token(owner="me")}
    if shard == own:
        assert auth.grant({}, credentials).owner == "me"
    else:
        with pytest.raises(WrongShard, match=f"of shard {own}.*has shard {shard}") as caught:
            auth.grant({}, credentials)
        assert caught.value.shard == own


def test_a_token_with_a_shard_that_is_none_is_not_valid():
    import jwt

    claims = {"sub": "me", "scope": "watch", "exp": 2**40, "shard": "0"}
    with pytest.raises(tokens.TokenError, match="claims"):
        tokens.verify([SECRET], jwt.encode(claims, SECRET))


def test_each_event_goes_to_its_shard_and_a_push_to_a_room_goes_to_all(monkeypatch, bridge):
    sent = []

    class Writer:
        def __init__(self, channel):
            self.channel = channel

        def emit_all(self, emissions):
            sent.extend((self.channel, one.event) for one in emissions)

    monkeypatch.setattr(
        "bridge.bus.write_only_manager.new_write_only_manager", lambda one: Writer(one.channel)
    )
    emitter = Emitter(settings())
    monkeypatch.setattr(emitter, "_start", lambda: None)
    for owner in ("me", None):
        emitter.put(Run(job="j", task="j", name="n", owner=owner), "started")
    emitter.push(Push("mine", {}, "/jobs", "owner:me", bridge.shard("me")))
    emitter.push(Push("all", {}, "/app", None))
    emitter.cycle()
    mine, unowned = f"taskbridge.{bridge.shard('me')}", f"taskbridge.{shard_of('j', SHARDS)}"
    expected = [(mine, "job"), (unowned, "job"), (mine, "mine")]
    expected += [(f"taskbridge.{shard}", "all") for shard in range(SHARDS)]
    # In the order of each shard: those of different shards are published one shard at a time.
    assert sorted(sent, key=itemgetter(0)) == sorted(expected, key=itemgetter(0))
