"""Who a client is: by its token, or by a session of the application that it comes from."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from bridge import tokens
from bridge.errors import SettingsError, TokenError, WrongShard
from bridge.settings import Settings
from bridge.shards import shard_of
from bridge.tokens import Grant

__all__ = ["Auth"]

logger = logging.getLogger(__name__)

Hook = Callable[[dict[str, Any], Any], Grant | None]

REFUSED = "the server could not tell who you are: its log says why"


class Auth:
    """Turns what a client brings into a grant.

    Args:
        settings: keys of tokens, and ``TASKBRIDGE_AUTH``.

    Raises:
        SettingsError: that function cannot be imported.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hook = _imported(settings.auth) if settings.auth else None

    def grant(self, environ: dict[str, Any], auth: Any) -> Grant:
        """Return what a client may do.

        Args:
            environ: WSGI environment of its first request.
            auth: what it sent to connect.

        Raises:
            TokenError: it may do nothing; the message says why.
            WrongShard: what it may see is not here.
        """
        grant = self._grant(environ, auth)
        if self._settings.shards > 1 and (shard := self._shard(grant)) != self._settings.shard:
            raise WrongShard(shard, self._settings.shard)
        return grant

    def _shard(self, grant: Grant) -> int:
        if grant.shard is not None:
            return grant.shard
        key = grant.owner or next(iter(sorted(grant.jobs)), None)
        return self._settings.shard if key is None else shard_of(key, self._settings.shards)

    def _grant(self, environ: dict[str, Any], auth: Any) -> Grant:
        if self._hook is not None and (grant := self._ask(self._hook, environ, auth)) is not None:
            return grant
        token = auth.get("token") if isinstance(auth, dict) else None
        settings = self._settings
        return tokens.verify(
            settings.keys,
            token,
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            leeway=settings.token_leeway,
        )

    def _ask(self, hook: Hook, environ: dict[str, Any], auth: Any) -> Grant | None:
        try:
            grant = hook(environ, auth)
        except TokenError:
            raise
        except Exception:
            logger.exception("taskbridge: TASKBRIDGE_AUTH=%s failed", self._settings.auth)
            raise TokenError(REFUSED) from None
        if grant is None or isinstance(grant, Grant):
            return grant
        logger.error(
            "taskbridge: TASKBRIDGE_AUTH=%s must return a bridge.Grant or None, not %s",
            self._settings.auth,
            type(grant).__name__,
        )
        raise TokenError(REFUSED)


def _imported(name: str) -> Hook:
    module, _, function = name.partition(":")
    try:
        hook: Hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"TASKBRIDGE_AUTH={name} cannot be imported: {error}") from None
    if not callable(hook):
        raise SettingsError(f"TASKBRIDGE_AUTH={name} is not a function")
    return hook
