"""Clients that a ``TASKBRIDGE_AUTH`` function let in: it is asked again before their grants end."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from bridge.errors import TokenError, WrongShard
from bridge.protocol.event import NAMESPACE
from bridge.tokens import Grant
from socket_server.messages.requests import Refused
from socket_server.watching.auth import Admission, Auth, HookFailed
from socket_server.watching.clients import Client, Clients, Session

__all__ = ["MAX_AUTH_BYTES", "Sessions"]

#: JSON of what a client sent to connect, which is kept to ask again.
MAX_AUTH_BYTES = 8 * 1024
#: The part of a grant's life after which the function is asked again. It is random, so that clients
#: that came together, after a restart say, do not stay together.
RENEWAL = (0.4, 0.7)
#: Clients whose sessions are asked for at once, where the function waits for a database.
AT_ONCE = 10


class Sessions:
    """Renews the grants of clients that came by a session of the application's own.

    Args:
        auth: asks the function.
        clients: who is connected.
        owner_of: returns whose job it is.
        ttl: seconds for which a grant holds at most.
    """

    def __init__(
        self, auth: Auth, clients: Clients, owner_of: Callable[[str], str | None], ttl: float
    ) -> None:
        self._auth, self._clients, self._owner_of, self._ttl = auth, clients, owner_of, ttl
        self._working = 0

    def of(self, admission: Admission, auth: Any) -> Session | None:
        """Return what renews a grant; None for that of a token, which the client itself renews.

        Args:
            admission: what the client may do.
            auth: what it sent for that.

        Raises:
            TokenError: it sent too much to be kept.
        """
        if not admission.by_session:
            return None
        kept = json.dumps(auth)
        if len(kept) > MAX_AUTH_BYTES:
            raise TokenError(f"what a session sends must be at most {MAX_AUTH_BYTES} bytes of JSON")
        return Session(kept, self._next(admission.grant))

    def _next(self, grant: Grant) -> float:
        now = time.time()
        # Not more and more often as an end comes near that the function does not move.
        return now + max(self._ttl / 20, (grant.expires - now) * random.uniform(*RENEWAL))

    def renew(self, server: Any) -> None:
        """Begin to ask for the grants of which it is time.

        Args:
            server: the Socket.IO server of the clients.
        """
        due = sum(1 for _ in self._due())
        for _ in range(min(AT_ONCE, due) - self._working):
            self._working += 1
            server.start_background_task(self._work, server)

    def _due(self) -> Any:
        now = time.time()
        for sid, client in self._clients.items():
            session = client.session
            if session is not None and not session.asking and session.renew_at <= now:
                yield session.renew_at, sid, client, session

    def _work(self, server: Any) -> None:
        try:
            with server.turn:
                while found := min(self._due(), default=None, key=lambda one: one[0]):
                    self._ask(server, *found[1:])
                    server.sleep(0)
        finally:
            self._working -= 1

    def _ask(self, server: Any, sid: str, client: Client, session: Session) -> None:
        if (environ := server.get_environ(sid, NAMESPACE)) is None:
            self._clients.remove(sid)  # its connection has ended
            return
        session.asking = True
        auth = json.loads(session.auth)
        admission = None
        try:
            # The function may wait: others have their turn, and the client may go, or refresh.
            admission = server.turn.outside(self._auth.admit, environ, auth)
        except HookFailed:
            session.renew_at = self._next(client.grant)
        except (TokenError, WrongShard):
            self._end(server, sid, client, session)
        finally:
            session.asking = False
        if admission is not None and self._is_current(sid, client, session):
            self._replace(server, sid, client, session, admission)

    def _is_current(self, sid: str, client: Client, session: Session) -> bool:
        return self._clients.get(sid) is client and client.session is session

    def _replace(
        self, server: Any, sid: str, client: Client, session: Session, admission: Admission
    ) -> None:
        try:
            renewed = self.of(admission, json.loads(session.auth))
            self._clients.refresh(sid, admission.grant, self._owner_of, renewed)
        except Refused:  # it is somebody else's session now
            self._end(server, sid, client, session)

    def _end(self, server: Any, sid: str, client: Client, session: Session) -> None:
        if self._is_current(sid, client, session):
            server.disconnect(sid, namespace=NAMESPACE)
