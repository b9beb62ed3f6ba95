"""Tokens: signed, expiring grants that a service gives to a client. JWT, HS256."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.errors import SettingsError, TokenError
from bridge.identifiers import check_identifier, flaw

__all__ = ["DEFAULT_TTL", "SCOPES", "Grant", "named", "sign", "verify"]

SCOPES = frozenset({"watch", "cancel", "enqueue"})
#: Seconds that a token lives unless told otherwise: long enough for a page to be left open over
#: a meeting, short enough that a leaked one is soon worthless.
DEFAULT_TTL = 900.0
ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do: what its token says, or a ``TASKBRIDGE_AUTH`` function.

    Args:
        owner: whose jobs it may see, all of them; None means ``jobs`` alone. A string of 1 to 255
            characters, without control characters.
        jobs: ids of single jobs.
        scope: of ``watch``, ``cancel``, ``enqueue``; a string with spaces or several strings.
        expires: seconds since the epoch; default never.
        shard: of the jobs, where it was said; else that of the owner, or of the jobs' ids.

    Raises:
        SettingsError: an argument is of another kind.
    """

    owner: str | None = None
    jobs: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset({"watch"})
    expires: float = float("inf")
    shard: int | None = None

    def __post_init__(self) -> None:
        """Check it: what a function of an application returns is no better than what it read."""
        _check_names(self.owner, jobs := _strings(self.jobs, "jobs"))
        scope = self.scope.split() if isinstance(self.scope, str) else self.scope
        object.__setattr__(self, "jobs", frozenset(jobs))
        object.__setattr__(self, "scope", frozenset(_strings(scope, "scope")))
        number = isinstance(self.expires, int | float) and not isinstance(self.expires, bool)
        if not number or self.expires != self.expires:
            raise SettingsError("a grant's expires must be a number of seconds since the epoch")
        if self.shard is not None and (type(self.shard) is not int or self.shard < 0):
            raise SettingsError("a grant's shard must be a whole number from 0 on")

    def allows(self, scope: str) -> bool:
        """Whether the token carries this scope."""
        return scope in self.scope

    def names(self, job: str, owner: str | None) -> bool:
        """Whether the token names this job, by its id or by its owner."""
        return job in self.jobs or (owner is not None and owner == self.owner)


def sign(
    keys: Sequence[str],
    *,
    owner: str | None = None,
    jobs: Iterable[str] = (),
    scope: str | Iterable[str] = "watch",
    ttl: float = DEFAULT_TTL,
    audience: str | None = None,
    issuer: str | None = None,
    shard: int | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return a token signed with the first key.

    Args:
        keys: keys of 32 or more bytes each.
        owner: whose jobs it names, all of them.
        jobs: single jobs that it names.
        scope: of ``watch``, ``cancel``, ``enqueue``; a string with spaces or several strings.
        ttl: seconds until it expires.
        audience: for whom it is (``aud``); default it does not say.
        issuer: who makes it (``iss``); default it does not say.
        shard: which servers have the jobs; default it does not say.

    Raises:
        SettingsError: nothing is named, an owner or an id is not a string of 1 to 255 characters
            without control characters, a scope is unknown, or ``ttl`` is not positive.
    """
    scopes = frozenset(_strings(scope.split() if isinstance(scope, str) else scope, "scope"))
    _check(scopes, ttl)
    jobs = named(owner, jobs)
    claims: dict[str, Any] = {"scope": " ".join(sorted(scopes)), "exp": clock() + ttl}
    said = {"sub": owner, "jobs": jobs or None, "aud": audience, "iss": issuer, "shard": shard}
    claims |= {name: value for name, value in said.items() if value is not None}
    import jwt

    return jwt.encode(claims, keys[0], algorithm=ALGORITHM)


def named(owner: Any, jobs: Any) -> list[str]:
    """Return the ids of the single jobs that a token is to name, each once and in order.

    Raises:
        SettingsError: nothing is named, or what is named is not an owner's or a job's id.
    """
    ids = sorted(set(_strings(jobs, "jobs")))
    if owner in (None, "") and not ids:
        raise SettingsError("a token needs an owner or at least one job")
    _check_names(owner, ids)
    return ids


def _check(scopes: frozenset[str], ttl: Any) -> None:
    if unknown := scopes - SCOPES:
        allowed = ", ".join(sorted(SCOPES))
        raise SettingsError(f"unknown scope {', '.join(sorted(unknown))}: use {allowed}")
    if not scopes:
        raise SettingsError("a token needs a scope: watch, cancel or enqueue")
    if not (isinstance(ttl, int | float) and 0 < ttl < float("inf")):
        raise SettingsError("a token's ttl must be a positive number of seconds")


def _check_names(owner: Any, jobs: Iterable[str]) -> None:
    if owner is not None:
        check_identifier(owner, "an owner", SettingsError)
    for job in jobs:
        check_identifier(job, "a job's id", SettingsError)


def _strings(values: Any, what: str) -> list[str]:
    """Return several strings as a list; one string is not taken for its characters."""
    if not isinstance(values, str | bytes) and isinstance(values, Iterable):
        found = list(values)
        if all(isinstance(one, str) for one in found):
            return found
    raise SettingsError(f"{what} must be a list of strings")


def verify(
    keys: Sequence[str],
    token: object,
    *,
    audience: str | None = None,
    issuer: str | None = None,
    leeway: float = 0.0,
    clock: Callable[[], float] = time.time,
) -> Grant:
    """Return what a token allows; it expires when the leeway is over as well.

    Args:
        keys: keys of which any may have signed it.
        token: what the client sent.
        audience: for whom it must be; None if it must not say.
        issuer: who must have made it; None if nobody asks.
        leeway: seconds by which clocks may be apart.

    Raises:
        TokenError: it is missing, malformed, signed with no known key, for somebody else, or
            expired.
    """
    if not isinstance(token, str) or not token:
        raise TokenError("a token is needed: connect with auth {token: ...}")
    names = {"audience": audience, "issuer": issuer, "leeway": leeway}
    grant = _grant(_claims(keys, token, names), leeway)
    if grant.expires <= clock():
        raise TokenError("the token has expired: ask the application for a new one")
    return grant


def _claims(keys: Sequence[str], token: str, checked: dict[str, Any]) -> dict[str, Any]:
    import jwt

    # The clock is ours (tests tick it), so PyJWT checks that `exp` is there, not that it is past.
    options: Any = {"verify_exp": False, "verify_iat": False, "require": ["exp", "scope"]}
    for key in keys:
        try:
            return dict(jwt.decode(token, key, algorithms=[ALGORITHM], options=options, **checked))
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise TokenError("the token is not valid: it is not for this application") from None
        # The latter two of a lone surrogate, and of JSON that is nested too deeply.
        except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError):
            break
    raise TokenError("the token is not valid: it was not signed by this application")


def _moment(value: Any) -> bool:
    # NaN would never have passed, and infinity never comes.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _grant(claims: dict[str, Any], leeway: float) -> Grant:
    owner, jobs, scope = claims.get("sub"), claims.get("jobs", []), claims["scope"]
    shard = claims.get("shard")
    well_formed = (
        (owner is None or flaw(owner) is None)
        and isinstance(jobs, list)
        and all(flaw(job) is None for job in jobs)
        and isinstance(scope, str)
        and _moment(claims["exp"])
        and (shard is None or (type(shard) is int and shard >= 0))
    )
    if not well_formed:
        raise TokenError("the token is not valid: its claims are not those of a taskbridge token")
    expires = float(claims["exp"]) + leeway
    return Grant(owner, frozenset(jobs), frozenset(scope.split()) & SCOPES, expires, shard)
