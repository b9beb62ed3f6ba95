"""Renewal of the grants that the ``TASKBRIDGE_AUTH`` function gave, before they end."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator

from bridge.errors import TokenError, WrongShard
from bridge.protocol.event import NAMESPACE
from bridge.tokens import Grant
from bridge.untyped import SocketIOServer
from socket_server.messages.requests import Refused
from socket_server.watching.auth import Admission, Auth, HookFailed
from socket_server.watching.clients import Client, Clients, Session

__all__ = ["MAX_AUTH_BYTES", "Sessions"]

#: Largest auth payload of a client that is kept for renewals, in bytes of JSON.
MAX_AUTH_BYTES = 8 * 1024
#: The fraction of a grant's life after which it is renewed: random between these, so that clients
#: that connect together, after a restart for example, are not renewed together.
RENEWAL = (0.4, 0.7)
#: Most renewals at the same time: the function may wait, for a database for example.
AT_ONCE = 10


class Sessions:
    """Renews the grants of clients that the ``TASKBRIDGE_AUTH`` function let in.

    Args:
        auth: calls the function.
        clients: the connected clients.
        owner_of: returns the owner of a job.
        ttl: longest life of a grant, in seconds.
    """

    def __init__(
        self, auth: Auth, clients: Clients, owner_of: Callable[[str], str | None], ttl: float
    ) -> None:
        self._auth, self._clients, self._owner_of, self._ttl = auth, clients, owner_of, ttl
        self._working = 0

    def of(self, admission: Admission, auth: object) -> Session | None:
        """Return what renews a grant; None for that of a token, which the client itself renews.

        Args:
            admission: the client's grant, and whether the function gave it.
            auth: auth payload of the client.

        Raises:
            TokenError: the payload is too large to be kept.
        """
        if not admission.by_session:
            return None
        kept = json.dumps(auth)
        if len(kept) > MAX_AUTH_BYTES:
            raise TokenError(f"what a session sends must be at most {MAX_AUTH_BYTES} bytes of JSON")
        return Session(kept, self._next(admission.grant))

    def _next(self, grant: Grant) -> float:
        now = time.time()
        # With a lower bound: if the function always returns the same end, the rest of the grant's
        # life, and with it the interval, would shrink to nothing.
        return now + max(self._ttl / 20, (grant.expires - now) * random.uniform(*RENEWAL))

    def renew(self, server: SocketIOServer) -> None:
        """Start background tasks that renew the grants that are due.

        Args:
            server: the Socket.IO server of the clients.
        """
        due = sum(1 for _ in self._due())
        for _ in range(min(AT_ONCE, due) - self._working):
            self._working += 1
            server.start_background_task(self._work, server)

    def _due(self) -> Iterator[tuple[float, str, Client, Session]]:
        now = time.time()
        for sid, client in self._clients.items():
            session = client.session
            if session is not None and not session.asking and session.renew_at <= now:
                yield session.renew_at, sid, client, session

    def _work(self, server: SocketIOServer) -> None:
        try:
            with server.state_lock:
                while found := min(self._due(), default=None, key=lambda one: one[0]):
                    self._ask(server, *found[1:])
                    server.sleep(0)
        finally:
            self._working -= 1

    def _ask(self, server: SocketIOServer, sid: str, client: Client, session: Session) -> None:
        if (environ := server.get_environ(sid, NAMESPACE)) is None:
            self._clients.remove(sid)  # its connection has ended
            return
        session.asking = True
        auth = json.loads(session.auth)
        admission = None
        try:
            # The function may wait, with the state lock released: the client may leave, or refresh.
            admission = server.state_lock.outside(self._auth.admit, environ, auth)
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
        self,
        server: SocketIOServer,
        sid: str,
        client: Client,
        session: Session,
        admission: Admission,
    ) -> None:
        try:
            renewed = self.of(admission, json.loads(session.auth))
            self._clients.refresh(sid, admission.grant, self._owner_of, renewed)
        except Refused:  # the session belongs to another owner now
            self._end(server, sid, client, session)

    def _end(self, server: SocketIOServer, sid: str, client: Client, session: Session) -> None:
        if self._is_current(sid, client, session):
            server.disconnect(sid, namespace=NAMESPACE)
