"""Renewal of the tokens of clients that watch a single job, for as long as it is unfinished."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from bridge.errors import ResultsUnavailable, TokenError
from bridge.protocol.event import NAMESPACE
from bridge.untyped import SocketIOServer
from socket_server.watching.auth import Admission, Auth
from socket_server.watching.clients import Client, Clients, Renewal
from socket_server.watching.job_lookup import JobLookup

__all__ = ["Renewals"]

#: The fraction of a token's time after which it is renewed: random between these, so that clients
#: that connect together, after a restart for example, are not renewed together.
RENEWAL = (0.4, 0.5)


class Renewals:
    """Sends clients a renewed token when about half of the time of theirs is over.

    A client that is cut off has the other half left to come back.

    Args:
        auth: renews and verifies tokens.
        clients: the connected clients.
        lookup: finds the jobs.
        owner_of: returns the owner of a job.
    """

    def __init__(
        self,
        auth: Auth,
        clients: Clients,
        lookup: JobLookup,
        owner_of: Callable[[str], str | None],
    ) -> None:
        self._auth, self._clients, self._lookup = auth, clients, lookup
        self._owner_of = owner_of
        #: Whether a background task works on jobs that the journal holds, and on others.
        self._working: set[bool] = set()

    def of(self, admission: Admission, auth: object) -> Renewal | None:
        """Return what renews a token; None for a grant that is not renewed here.

        Args:
            admission: the client's grant.
            auth: auth payload of the client; its token is renewed if ``renew`` is True. Clients of
                0.1.0 do not say it: they replace their tokens themselves, when these expire.
        """
        if admission.by_session or admission.grant.single is None or not isinstance(auth, dict):
            return None
        if not self._auth.renews or auth.get("renew") is not True:
            return None
        return Renewal(auth["token"], _next(admission.grant.expires))

    def send(self, server: SocketIOServer) -> None:
        """Start background tasks that renew the tokens that are due, if none work.

        Args:
            server: the Socket.IO server of the clients.
        """
        # A result backend that does not answer, about other jobs, holds up no job that is held.
        for held in (True, False):
            if held not in self._working and next(self._due(held), None) is not None:
                self._working.add(held)
                server.start_background_task(self._work, server, held)

    def _due(self, held: bool) -> Iterator[tuple[str, Client, Renewal]]:
        now = time.time()
        for sid, client in self._clients.items():
            renewal = client.renewal
            if renewal is None or renewal.at > now:
                continue
            if self._lookup.holds(client.grant.single) == held:
                yield sid, client, renewal

    def _work(self, server: SocketIOServer, held: bool) -> None:
        try:
            with server.state_lock:
                for sid, client, renewal in list(self._due(held)):
                    renewal.at = _next(client.grant.expires)
                    renewal.failed = not self._renew(server, sid, client, renewal)
                    server.sleep(0)
        finally:
            self._working.remove(held)

    def _renew(self, server: SocketIOServer, sid: str, client: Client, renewal: Renewal) -> bool:
        """Renew a client's token; return False if it is not renewed now."""
        if not self._watches_unfinished(client):
            return False
        # The result backend may have been asked meanwhile, with the state lock released.
        if self._clients.get(sid) is not client or client.renewal is not renewal:
            return True
        try:
            if (token := self._auth.renewed(renewal.token)) is None:
                return False
            grant = self._auth.verify(token)
        except TokenError:  # the key was removed
            return False
        anew = Renewal(token, _next(grant.expires))
        self._clients.refresh(sid, grant, self._owner_of, renewal=anew)
        notice = {"token": token, "expires": grant.expires}
        server.emit("token_renewed", notice, to=sid, namespace=NAMESPACE, ignore_queue=True)
        return True

    def _watches_unfinished(self, client: Client) -> bool:
        job = client.grant.single
        try:
            return job in client.watched and self._lookup.is_unfinished(job)
        except ResultsUnavailable:
            return False


def _next(expires: float) -> float:
    now = time.time()
    return now + max(1.0, (expires - now) * random.uniform(*RENEWAL))
