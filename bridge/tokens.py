"""Tokens: signed, expiring grants that a service gives to a client. JWT, HS256."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.errors import SettingsError, TokenError

__all__ = ["DEFAULT_TTL", "SCOPES", "Grant", "sign", "verify"]

SCOPES = frozenset({"watch", "cancel", "enqueue"})
#: Seconds that a token lives unless told otherwise: long enough for a page to be left open over
#: a meeting, short enough that a leaked one is soon worthless.
DEFAULT_TTL = 900.0
ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows.

    ``expires`` is in seconds since the epoch; an ``owner`` of None means the jobs alone.
    """

    owner: str | None
    jobs: frozenset[str]
    scope: frozenset[str]
    expires: float

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
    clock: Callable[[], float] = time.time,
) -> str:
    """Return a token signed with the first key.

    Args:
        keys: keys of 32 or more bytes each.
        owner: whose jobs it names, all of them.
        jobs: single jobs that it names.
        scope: of ``watch``, ``cancel``, ``enqueue``; a string with spaces or several strings.
        ttl: seconds until it expires.

    Raises:
        SettingsError: nothing is named, a scope is unknown, or ``ttl`` is not positive.
    """
    scopes = frozenset(scope.split() if isinstance(scope, str) else scope)
    _check(owner, scopes, jobs := sorted(set(jobs)), ttl)
    claims: dict[str, Any] = {"scope": " ".join(sorted(scopes)), "exp": clock() + ttl}
    if owner is not None:
        claims["sub"] = owner
    if jobs:
        claims["jobs"] = jobs
    import jwt

    return jwt.encode(claims, keys[0], algorithm=ALGORITHM)


def _check(owner: str | None, scopes: frozenset[str], jobs: list[str], ttl: float) -> None:
    if unknown := scopes - SCOPES:
        allowed = ", ".join(sorted(SCOPES))
        raise SettingsError(f"unknown scope {', '.join(sorted(unknown))}: use {allowed}")
    if not scopes:
        raise SettingsError("a token needs a scope: watch, cancel or enqueue")
    if not owner and not jobs:
        raise SettingsError("a token needs an owner or at least one job")
    if not 0 < ttl < float("inf"):
        raise SettingsError("a token's ttl must be a positive number of seconds")


def verify(keys: Sequence[str], token: object, *, clock: Callable[[], float] = time.time) -> Grant:
    """Return what a token allows.

    Raises:
        TokenError: it is missing, malformed, signed with no known key, or expired.
    """
    if not isinstance(token, str) or not token:
        raise TokenError("a token is needed: connect with auth {token: ...}")
    grant = _grant(_claims(keys, token))
    if grant.expires <= clock():
        raise TokenError("the token has expired: ask the application for a new one")
    return grant


def _claims(keys: Sequence[str], token: str) -> dict[str, Any]:
    import jwt

    # The clock is ours (tests tick it), so PyJWT checks that `exp` is there, not that it is past.
    options: Any = {"verify_exp": False, "verify_iat": False, "require": ["exp", "scope"]}
    for key in keys:
        try:
            return dict(jwt.decode(token, key, algorithms=[ALGORITHM], options=options))
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, UnicodeEncodeError):  # the latter of a lone surrogate
            break
    raise TokenError("the token is not valid: it was not signed by this application")


def _moment(value: Any) -> bool:
    # NaN would never have passed, and infinity never comes.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _grant(claims: dict[str, Any]) -> Grant:
    owner, jobs, scope = claims.get("sub"), claims.get("jobs", []), claims["scope"]
    well_formed = (
        (owner is None or isinstance(owner, str))
        and isinstance(jobs, list)
        and all(isinstance(job, str) for job in jobs)
        and isinstance(scope, str)
        and _moment(claims["exp"])
    )
    if not well_formed:
        raise TokenError("the token is not valid: its claims are not those of a taskbridge token")
    return Grant(owner, frozenset(jobs), frozenset(scope.split()) & SCOPES, float(claims["exp"]))
