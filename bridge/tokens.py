"""Tokens: signed, expiring grants that a service gives to a client. JWT, HS256."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict, TypeGuard, Unpack

from bridge.errors import SettingsError, TokenError
from bridge.identifiers import check_identifier, flaw

if TYPE_CHECKING:
    from jwt.types import Options

__all__ = ["DEFAULT_TTL", "SCOPES", "Grant", "named", "renewed", "sign", "verify"]

SCOPES = frozenset({"watch", "cancel", "enqueue", "operate"})
#: Default lifetime of a token in seconds: long enough for a page that stays open over a meeting,
#: short enough that a leaked token is soon worthless.
DEFAULT_TTL = 900.0
ALGORITHM = "HS256"
#: Tokens that are remembered with their grants, of about 1 KiB, and characters of the longest one.
REMEMBERED, LONG = 10_000, 512


@dataclass(frozen=True, slots=True)
class Grant:
    """The permissions of a client, from its token or from a ``TASKBRIDGE_AUTH`` function.

    Args:
        owner: owner whose jobs the client may see, all of them; None means ``jobs`` alone. A string
            of 1 to 255 characters, without control characters.
        jobs: ids of single jobs.
        scope: ``watch``, ``cancel``, ``enqueue``, and ``operate``, which extends them to the jobs
            of all owners; a string with spaces or several strings. Default ``watch``.
        expires: seconds since the epoch; default never.
        shard: shard of the jobs; default that of the owner, or of the jobs' ids.

    Raises:
        SettingsError: an argument has a wrong type or value.
    """

    owner: str | None = None
    jobs: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset({"watch"})
    expires: float = float("inf")
    shard: int | None = None

    def __post_init__(self) -> None:
        """Check the fields: a ``TASKBRIDGE_AUTH`` function may pass on unchecked input."""
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
        """Whether the grant has this scope."""
        return scope in self.scope

    def names(self, job: str, owner: str | None) -> bool:
        """Whether the grant names this job: by its id or its owner; an operator's names all."""
        own = owner is not None and owner == self.owner
        return own or job in self.jobs or self.allows("operate")

    @property
    def single(self) -> str | None:
        """The one job of a grant that names no owner and only watches or cancels; else None."""
        fits = self.owner is None and len(self.jobs) == 1 and self.scope - {"cancel"} == {"watch"}
        return next(iter(self.jobs)) if fits else None


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
        owner: owner whose jobs the token names, all of them; default none.
        jobs: ids of single jobs that it names; default none.
        scope: ``watch``, ``cancel``, ``enqueue``, and ``operate``, which extends them to the jobs
            of all owners; a string with spaces or several strings. Default ``watch``.
        ttl: seconds until it expires; default 900.
        audience: its audience (``aud``); default none.
        issuer: its issuer (``iss``); default none.
        shard: shard whose servers have the jobs; default none.

    Raises:
        SettingsError: neither owner nor job is named, one of them is not a string of 1 to 255
            characters without control characters, a scope is unknown, or ``ttl`` is not positive.
    """
    scopes = frozenset(_strings(scope.split() if isinstance(scope, str) else scope, "scope"))
    _check(scopes, ttl)
    jobs = named(owner, jobs)
    now = clock()
    claims: dict[str, object] = {"scope": " ".join(sorted(scopes)), "iat": now, "exp": now + ttl}
    said = {"sub": owner, "jobs": jobs or None, "aud": audience, "iss": issuer, "shard": shard}
    claims |= {name: value for name, value in said.items() if value is not None}
    import jwt

    return jwt.encode(claims, keys[0], algorithm=ALGORITHM)


def named(owner: object, jobs: object) -> list[str]:
    """Return the ids of the single jobs that a token is to name, each once and in order.

    Raises:
        SettingsError: neither owner nor job is named, or one of them is not an identifier.
    """
    ids = sorted(set(_strings(jobs, "jobs")))
    if owner in (None, "") and not ids:
        raise SettingsError("a token needs an owner or at least one job")
    _check_names(owner, ids)
    return ids


def _check(scopes: frozenset[str], ttl: object) -> None:
    if unknown := scopes - SCOPES:
        allowed = ", ".join(sorted(SCOPES))
        raise SettingsError(f"unknown scope {', '.join(sorted(unknown))}: use {allowed}")
    if not scopes:
        raise SettingsError("a token needs a scope: watch, cancel, enqueue or operate")
    if not (isinstance(ttl, int | float) and 0 < ttl < float("inf")):
        raise SettingsError("a token's ttl must be a positive number of seconds")


def _check_names(owner: object, jobs: Iterable[str]) -> None:
    if owner is not None:
        check_identifier(owner, "an owner", SettingsError)
    for job in jobs:
        check_identifier(job, "a job's id", SettingsError)


def _strings(values: object, what: str) -> list[str]:
    """Return several strings as a list; a single string is refused, not split into characters."""
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
    """Return the grant of a token; it expires ``leeway`` seconds after the token.

    Args:
        keys: keys, any of which may have signed the token.
        token: token that the client sent.
        audience: required audience; None if the token must not have one.
        issuer: required issuer; None for any.
        leeway: seconds by which clocks may differ; default 0.

    Raises:
        TokenError: the token is missing, malformed, signed with no known key, for another audience,
            of another issuer, or expired.
    """
    if not isinstance(token, str) or not token:
        raise TokenError("a token is needed: connect with auth {token: ...}")
    signed = _signed if len(token) <= LONG else _signed.__wrapped__
    grant = signed(tuple(keys), token, audience, issuer, leeway)
    if grant.expires <= clock():
        raise TokenError("the token has expired: ask the application for a new one")
    return grant


@lru_cache(REMEMBERED)
def _signed(
    keys: tuple[str, ...], token: str, audience: str | None, issuer: str | None, leeway: float
) -> Grant:
    """Return the grant of a token, expired or not.

    It is remembered, as clients that were cut off come back with the same tokens all at once, and
    as it depends on the arguments alone: a key that is removed is missing from later calls. An
    error is not remembered: a token that is not valid yet (``nbf``) will be.
    """
    _, claims = _claims(keys, token, {"audience": audience, "issuer": issuer, "leeway": leeway})
    return _grant(claims, leeway)


class Checked(TypedDict, total=False):
    """What PyJWT checks of a token, beside its signature; see :func:`verify`."""

    audience: str | None
    issuer: str | None
    leeway: float


def renewed(
    keys: Sequence[str],
    token: str,
    longest: float,
    *,
    clock: Callable[[], float] = time.time,
    **checked: Unpack[Checked],
) -> str | None:
    """Return the same token with a later end; None if it is not one to renew, or not any more.

    Only a token that names a single job, which it allows to watch or to cancel, is renewed, and
    only if it says when it was issued (``iat``; version 0.1.0 signed tokens without it). The new
    token lasts as long as the one before, but ends ``longest`` seconds after the first was issued
    (``auth_time``) at the latest. It is signed with the key of the first: without that key, all of
    them end.

    Args:
        keys: keys, any of which may have signed the token.
        token: a valid token.
        longest: seconds from the first token's issue to the last one's end.
        checked: ``audience``, ``issuer`` and ``leeway``, as for :func:`verify`.

    Raises:
        TokenError: the token is not valid.
    """
    key, claims = _claims(keys, token, checked)
    grant, now = _grant(claims, checked.get("leeway", 0.0)), clock()
    known = set(str(claims["scope"]).split()) == grant.scope
    issued, ends = claims.get("iat"), claims["exp"]
    first = claims.get("auth_time", issued)
    if grant.single is None or not known or grant.expires <= now:
        return None
    if not (_moment(issued) and _moment(first) and _moment(ends)):
        return None
    if (later := min(now + ends - issued, first + longest)) <= ends:
        return None
    import jwt

    claims |= {"iat": now, "auth_time": first, "exp": later}
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def _claims(keys: Sequence[str], token: str, checked: Checked) -> tuple[str, dict[str, object]]:
    """Return the key that signed a token, and its claims."""
    import jwt

    # `verify` checks `exp` by its own clock, which tests control; PyJWT only checks that it exists.
    options: Options = {"verify_exp": False, "verify_iat": False, "require": ["exp", "scope"]}
    for key in keys:
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], options=options, **checked)
            return key, dict(claims)
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise TokenError("the token is not valid: it is not for this application") from None
        # The last two are raised for a lone surrogate, and for JSON that is nested too deeply.
        except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError):
            break
    raise TokenError(
        "the token is not valid: it was not signed with the server's TASKBRIDGE_SECRET"
    )


def _moment(value: object) -> TypeGuard[float]:
    # A token with NaN or infinity would never expire.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _grant(claims: Mapping[str, object], leeway: float) -> Grant:
    owner, jobs, scope = claims.get("sub"), claims.get("jobs", []), claims["scope"]
    ends, shard = claims["exp"], claims.get("shard")
    if not (
        (owner is None or (isinstance(owner, str) and flaw(owner) is None))
        and isinstance(jobs, list)
        and all(flaw(job) is None for job in jobs)
        and isinstance(scope, str)
        and _moment(ends)
        and (shard is None or (type(shard) is int and shard >= 0))
    ):
        raise TokenError("the token is not valid: its claims are not those of a taskbridge token")
    expires = float(ends) + leeway
    return Grant(owner, frozenset(jobs), frozenset(scope.split()) & SCOPES, expires, shard)
