"""Tokens: what they allow, and that nothing else is let through."""

from __future__ import annotations

import time

import jwt
import pytest

from bridge import tokens
from bridge.errors import SettingsError, TokenError

KEY, OTHER = "k" * 32, "o" * 32
NOW = 1_000_000.0


def clock():
    return NOW


def sign(**options):
    options = {"owner": "user-42", **options}
    return tokens.sign([KEY], clock=clock, **options)


def verify(token, *, keys=(KEY,), at=NOW):
    return tokens.verify(keys, token, clock=lambda: at)


def forge(claims, key=KEY, algorithm="HS256"):
    return jwt.encode({"exp": NOW + 60, "scope": "watch", **claims}, key, algorithm=algorithm)


def test_a_token_comes_back_as_what_was_signed():
    grant = verify(sign(jobs=["b", "a", "b"], scope="watch cancel", ttl=60))
    assert grant == tokens.Grant(
        "user-42", frozenset("ab"), frozenset({"watch", "cancel"}), NOW + 60
    )
    assert grant.allows("cancel")
    assert not grant.allows("enqueue")


def test_a_token_names_its_owners_jobs_and_its_own_jobs_and_no_other():
    grant = verify(sign(jobs=["a"]))
    assert grant.names("a", "somebody")
    assert grant.names("b", "user-42")
    assert not grant.names("b", "somebody")


def test_a_token_without_an_owner_does_not_name_jobs_that_are_nobodys():
    grant = verify(sign(owner=None, jobs=["a"]))
    assert grant.owner is None
    assert grant.names("a", None)
    assert not grant.names("b", None)


def test_an_operators_token_names_the_jobs_of_all_owners():
    grant = verify(sign(owner="me", scope="watch operate"))
    assert grant.names("b", "somebody")
    assert grant.names("b", None)
    assert not grant.allows("cancel")


def test_a_token_lives_a_quarter_of_an_hour_unless_told_otherwise():
    assert verify(sign()).expires == NOW + 900


def test_a_token_expires_on_the_second():
    token = sign(ttl=10)
    assert verify(token, at=NOW + 9.9)
    with pytest.raises(TokenError, match="expired"):
        verify(token, at=NOW + 10)


def test_the_first_key_signs_and_all_verify_so_that_keys_can_be_rotated():
    before = sign()
    after = tokens.sign([OTHER, KEY], owner="user-42", clock=clock)
    assert verify(before, keys=[OTHER, KEY]).owner == "user-42"
    assert verify(after, keys=[OTHER, KEY]).owner == "user-42"
    with pytest.raises(TokenError):
        verify(after, keys=[KEY])


def test_a_token_signed_with_another_key_is_refused_in_one_sentence():
    with pytest.raises(TokenError) as caught:
        verify(forge({"sub": "user-42"}, key=OTHER))
    told = "the token is not valid: it was not signed with the server's TASKBRIDGE_SECRET"
    assert str(caught.value) == told


def test_a_token_whose_claims_were_changed_is_refused():
    head, _, signature = sign().split(".")
    _, claims, _ = sign(owner="admin").split(".")
    with pytest.raises(TokenError):
        verify(f"{head}.{claims}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_no_other_algorithm_is_taken(algorithm):
    key = None if algorithm == "none" else KEY * 2
    with pytest.raises(TokenError):
        verify(forge({"sub": "user-42"}, key, algorithm), keys=[KEY * 2])


def test_an_unsigned_token_is_refused():
    head, claims, _ = forge({"sub": "user-42"}, None, "none").split(".")
    with pytest.raises(TokenError):
        verify(f"{head}.{claims}.")


@pytest.mark.parametrize(
    "token",
    [None, "", 7, b"x", {}, [], "x", "a.b.c", "..", "é", "\ud800", "a" * 100_000, "\0", True],
)
def test_what_is_no_token_is_refused_as_one(token):
    with pytest.raises(TokenError):
        verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": 7},
        {"sub": ["user-42"]},
        {"jobs": "abc"},
        {"jobs": [1]},
        {"jobs": {"a": 1}},
        {"jobs": None},
        {"scope": ["watch"]},
        {"scope": None},
        {"scope": 1},
        {"exp": "soon"},
        {"exp": None},
        {"exp": [1]},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"nbf": "x"},
        {"aud": "another application"},
    ],
    ids=str,
)
def test_claims_of_another_shape_are_refused_even_if_well_signed(claims):
    with pytest.raises(TokenError):
        verify(forge({"sub": "user-42", **claims}))


@pytest.mark.parametrize("missing", ["exp", "scope"])
def test_a_token_without_an_end_or_a_scope_is_refused(missing):
    claims = {"sub": "user-42", "exp": NOW + 60, "scope": "watch"}
    del claims[missing]
    with pytest.raises(TokenError):
        verify(jwt.encode(claims, KEY, algorithm="HS256"))


def test_scopes_that_do_not_exist_are_left_out_of_what_a_token_allows():
    assert verify(forge({"sub": "u", "scope": "watch admin"})).scope == {"watch"}


EVERY = ["operate", "enqueue", "watch", "cancel"]


@pytest.mark.parametrize("scope", [" ".join(EVERY), EVERY])
def test_scopes_are_given_as_one_string_or_as_several(scope):
    assert verify(sign(scope=scope)).scope == tokens.SCOPES


@pytest.mark.parametrize("scope", ["", [], "admin", "watch,cancel", ["watch", "root"]])
def test_no_scope_and_unknown_scopes_are_not_signed(scope):
    with pytest.raises(SettingsError, match="scope"):
        sign(scope=scope)


@pytest.mark.parametrize("owner", [None, ""])
def test_a_token_that_names_nothing_is_not_signed(owner):
    with pytest.raises(SettingsError, match="an owner or at least one job"):
        sign(owner=owner)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_token_that_never_lives_or_never_ends_is_not_signed(ttl):
    with pytest.raises(SettingsError, match="ttl"):
        sign(ttl=ttl)


def test_a_token_for_an_audience_is_taken_by_that_audience_alone():
    token = sign(audience="here")
    assert tokens.verify([KEY], token, audience="here", clock=clock).owner == "user-42"
    for audience in ("elsewhere", None):
        with pytest.raises(TokenError, match="not for this application"):
            tokens.verify([KEY], token, audience=audience, clock=clock)


def test_a_token_that_names_no_audience_or_issuer_is_refused_where_one_is_asked_for():
    for asked in ({"audience": "here"}, {"issuer": "us"}):
        with pytest.raises(TokenError):
            tokens.verify([KEY], sign(), clock=clock, **asked)


def test_a_token_must_be_of_the_issuer_that_is_asked_for():
    token = sign(issuer="us")
    assert tokens.verify([KEY], token, issuer="us", clock=clock)
    assert tokens.verify([KEY], token, clock=clock)
    with pytest.raises(TokenError, match="not for this application"):
        tokens.verify([KEY], token, issuer="them", clock=clock)


def test_a_token_lives_as_much_longer_as_clocks_may_be_apart():
    token = sign(ttl=10)
    assert tokens.verify([KEY], token, leeway=5, clock=lambda: NOW + 14.9).expires == NOW + 15
    with pytest.raises(TokenError, match="has expired"):
        tokens.verify([KEY], token, leeway=5, clock=lambda: NOW + 15)


DAY = 86_400.0


def renew(token, *, keys=(KEY,), at=NOW + 450, longest=DAY, **checked):
    return tokens.renewed(keys, token, longest, clock=lambda: at, **checked)


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def sign_single(**options):
    return sign(**{"owner": None, "jobs": ["a"], "scope": "watch cancel", **options})


def test_the_token_of_one_job_is_renewed_with_its_claims_for_as_long_as_it_lasted():
    token = sign_single(ttl=60, audience="here", issuer="us", shard=3)
    new = renew(token, at=NOW + 30, audience="here")
    assert claims_of(new) == {
        **claims_of(token),
        "iat": NOW + 30,
        "auth_time": NOW,
        "exp": NOW + 90,
    }
    assert verify(renew(sign_single()), at=NOW + 1349).scope == {"watch", "cancel"}


@pytest.mark.parametrize(
    "claims",
    [
        {"owner": "user-42"},
        {"owner": "user-42", "jobs": []},
        {"jobs": ["a", "b"]},
        {"scope": "cancel"},
        {"scope": "watch enqueue"},
    ],
    ids=str,
)
def test_no_token_of_another_kind_is_renewed(claims):
    assert renew(sign_single(**claims)) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": None},
        {"iat": "now"},
        {"iat": float("nan")},
        {"iat": True},
        {"iat": -1},
        {"iat": NOW, "auth_time": "long ago"},
        {"iat": NOW, "auth_time": float("inf")},
        {"iat": NOW, "scope": "watch admin"},
        {"iat": NOW + 10**6},
    ],
    ids=str,
)
def test_a_token_that_says_not_well_when_it_was_issued_is_not_renewed(claims):
    token = forge({"jobs": ["a"], "exp": NOW + 900, **claims})
    assert verify(token).jobs == {"a"}
    assert renew(token) is None


def test_a_token_that_is_renewed_for_ever_ends_a_day_after_its_first_issue():
    token, at, count = sign_single(), NOW, 0
    while new := renew(token, at=at + 450):
        token, at, count = new, at + 450, count + 1
        assert claims_of(token)["auth_time"] == NOW
    assert claims_of(token)["exp"] == NOW + DAY
    assert count == pytest.approx(DAY / 450, abs=2)


def test_a_token_is_not_renewed_before_the_time_at_which_it_says_it_was_issued():
    token = sign_single()  # by a service whose clock is ahead
    for ahead in (0.0, 60.0, 7200.0):
        assert renew(token, at=NOW - ahead) is None
    assert claims_of(renew(token, at=NOW + 1))["exp"] == NOW + 901


def test_a_service_that_lets_its_token_live_longer_than_renewals_go_keeps_its_end():
    assert renew(sign_single(ttl=2 * DAY)) is None


def test_a_renewed_token_ends_with_the_key_that_signed_the_first():
    new = renew(sign_single(), keys=[OTHER, KEY])
    assert verify(new, keys=[OTHER, KEY])
    with pytest.raises(TokenError):
        verify(new, keys=[OTHER])
    with pytest.raises(TokenError):
        renew(sign_single(), keys=[OTHER])


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_no_token_of_another_algorithm_is_renewed(algorithm):
    key = None if algorithm == "none" else KEY * 2
    with pytest.raises(TokenError):
        renew(forge({"jobs": ["a"], "iat": NOW}, key, algorithm), keys=[KEY * 2])


def test_an_expired_token_is_not_renewed():
    assert renew(sign_single(), at=NOW + 900) is None
    assert renew(sign_single(), at=NOW + 902, leeway=5.0)


@pytest.fixture
def decoded(monkeypatch):
    """Return the tokens that PyJWT has decoded, of which none is remembered at first."""
    tokens._signed.cache_clear()
    found, decode = [], jwt.decode
    monkeypatch.setattr(
        jwt, "decode", lambda token, *a, **k: found.append(token) or decode(token, *a, **k)
    )
    return found


def test_a_token_that_was_verified_is_remembered_but_not_past_its_end(decoded):
    token = sign(ttl=10)
    assert verify(token) == verify(token)
    assert decoded == [token]
    with pytest.raises(TokenError, match="expired"):
        verify(token, at=NOW + 10)


def test_a_remembered_token_is_refused_once_its_key_is_removed_or_more_is_asked_of_it(decoded):
    token = sign()
    assert verify(token, keys=[OTHER, KEY])
    for asked in ({"keys": [OTHER]}, {"audience": "here"}, {"issuer": "us"}):
        with pytest.raises(TokenError, match="not valid"):
            tokens.verify(**{"keys": [KEY], "token": token, "clock": clock, **asked})


def test_a_token_that_is_refused_is_not_remembered(decoded):
    token = forge({"sub": "user-42", "nbf": time.time() + 1000})
    for _ in range(2):
        with pytest.raises(TokenError):
            verify(token)
    assert decoded == [token, token]
    assert tokens._signed.cache_info().currsize == 0


def test_a_long_token_is_verified_but_not_remembered(decoded):
    token = sign(jobs=[f"job-{number}" for number in range(100)])
    assert verify(token) == verify(token)
    assert decoded == [token, token]
    assert tokens._signed.cache_info().currsize == 0
