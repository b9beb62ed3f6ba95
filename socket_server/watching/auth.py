"""Authentication of clients: by a token, or by the ``TASKBRIDGE_AUTH`` function."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from bridge import tokens
from bridge.bus.sharding import shard_of
from bridge.errors import SettingsError, TokenError, WrongShard
from bridge.settings import Settings
from bridge.tokens import Grant

__all__ = ["Admission", "Auth", "HookFailed"]

logger = logging.getLogger(__name__)

Hook = Callable[[WSGIEnvironment, object], Grant | None]

REFUSED = "the server could not tell who you are: its log says why"


class HookFailed(TokenError):
    """The ``TASKBRIDGE_AUTH`` function failed: it neither admitted nor refused the client."""


class Admission(NamedTuple):
    """A client's grant, and whether the ``TASKBRIDGE_AUTH`` function gave it."""

    grant: Grant
    by_session: bool


class Auth:
    """Turns a client's first request and its auth payload into a grant.

    Args:
        settings: token keys, and the name of the ``TASKBRIDGE_AUTH`` function.

    Raises:
        SettingsError: the function cannot be imported.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._checked: tokens.Checked = {
            "audience": settings.token_audience,
            "issuer": settings.token_issuer,
            "leeway": settings.token_leeway,
        }
        self._hook = _imported(settings.auth) if settings.auth else None
        #: Whether the function failed when it was last called.
        self._failing = False

    def grant(self, environ: WSGIEnvironment, auth: object) -> Grant:
        """Return the grant of a client; see :meth:`admit`."""
        return self.admit(environ, auth).grant

    def admit(self, environ: WSGIEnvironment, auth: object) -> Admission:
        """Return the grant of a client, and whether the ``TASKBRIDGE_AUTH`` function gave it.

        A grant of the function ends ``TASKBRIDGE_SESSION_TTL`` seconds from now at the latest.

        Args:
            environ: WSGI environment of the client's first request.
            auth: auth payload of the client.

        Raises:
            HookFailed: the ``TASKBRIDGE_AUTH`` function failed.
            TokenError: the client is refused; the message says why.
            WrongShard: the jobs of the grant belong to another shard.
        """
        admission = self._admit(environ, auth)
        own = self._settings.shard
        if self._settings.shards > 1 and (shard := self._shard(admission.grant)) != own:
            raise WrongShard(shard, own)
        return admission

    def _shard(self, grant: Grant) -> int:
        if grant.shard is not None:
            return grant.shard
        key = grant.owner or next(iter(sorted(grant.jobs)), None)
        return self._settings.shard if key is None else shard_of(key, self._settings.shards)

    def _admit(self, environ: WSGIEnvironment, auth: object) -> Admission:
        if self._hook is not None and (grant := self._ask(self._hook, environ, auth)) is not None:
            return Admission(self._bounded(grant), by_session=True)
        token = auth.get("token") if isinstance(auth, dict) else None
        return Admission(self.verify(token), by_session=False)

    def verify(self, token: object) -> Grant:
        """Return the grant of a token; see :func:`bridge.tokens.verify`."""
        return tokens.verify(self._settings.keys, token, **self._checked)

    @property
    def renews(self) -> bool:
        """Whether tokens are renewed."""
        return self._settings.token_renewal > 0

    def renewed(self, token: str) -> str | None:
        """Return a token with a later end, or None; see :func:`bridge.tokens.renewed`."""
        settings = self._settings
        return tokens.renewed(settings.keys, token, settings.token_renewal, **self._checked)

    def _bounded(self, grant: Grant) -> Grant:
        now = time.time()
        if grant.expires <= now:
            raise TokenError("the session has expired: log in again")
        return replace(grant, expires=min(grant.expires, now + self._settings.session_ttl))

    def _ask(self, hook: Hook, environ: WSGIEnvironment, auth: object) -> Grant | None:
        try:
            # A copy, since each renewal passes the same environment to the function again.
            grant = hook(dict(environ), auth)
            if grant is not None and not isinstance(grant, Grant):
                kind = type(grant).__name__
                raise TypeError(f"it must return a bridge.Grant or None, not {kind}")
        except TokenError:
            self._failing = False
            raise
        except Exception:
            # Logged once until the next success: every session is renewed again and again.
            if not self._failing:
                logger.exception("taskbridge: TASKBRIDGE_AUTH=%s failed", self._settings.auth)
            self._failing = True
            raise HookFailed(REFUSED) from None
        self._failing = False
        return grant


def _imported(name: str) -> Hook:
    module, _, function = name.partition(":")
    try:
        hook: Hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"TASKBRIDGE_AUTH={name} cannot be imported: {error}") from None
    if not callable(hook):
        raise SettingsError(f"TASKBRIDGE_AUTH={name} is not a function")
    return hook
