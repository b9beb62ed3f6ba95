"""Who is connected to ``/jobs``, what each may do, and what it watches."""

from __future__ import annotations

from collections.abc import Callable, ItemsView
from dataclasses import dataclass, field
from typing import Any

from bridge.protocol.event import NAMESPACE, room_of_job, room_of_owner
from bridge.tokens import Grant
from socket_server.limits.rate_limits import Limits
from socket_server.messages.requests import Refused

__all__ = ["Client", "Clients", "Session"]

#: Seconds before its token expires at which a client is told.
NOTICE = 30.0
#: The part of its longest life that is left of a session's grant when its client is told: the
#: server itself has tried to renew it before.
LAST_PART = 0.1


@dataclass(slots=True)
class Session:
    """What is needed to ask for a client's grant again, beside its environment."""

    auth: str
    #: Seconds since the epoch at which the function is asked again.
    renew_at: float
    asking: bool = False


@dataclass(slots=True)
class Client:
    """A connection that was let in."""

    grant: Grant
    watched: set[str] = field(default_factory=set)
    #: Whether it sees all jobs of its owner.
    all: bool = False
    #: Whether it was told that its token will expire.
    told: bool = False
    #: What renews its grant; None if that is a token's.
    session: Session | None = None


class Clients:
    """Keeps account of connections to ``/jobs``.

    Args:
        namespace: whose rooms they enter.
        limits: how many an owner may have, and how many jobs each may watch.
        session_ttl: seconds for which a session's grant holds at most.
    """

    def __init__(self, namespace: Any, limits: Limits, session_ttl: float) -> None:
        self._namespace, self._limits = namespace, limits
        self._session_notice = min(NOTICE, LAST_PART * session_ttl)
        self._clients: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def watches(self) -> int:
        """Jobs that clients watch, each for each client."""
        return sum(len(client.watched) for client in self._clients.values())

    def items(self) -> ItemsView[str, Client]:
        """Return all of them, by their ids."""
        return self._clients.items()

    def add(self, sid: str, grant: Grant, session: Session | None = None) -> None:
        """Let one in.

        Raises:
            Refused: its owner has too many connections.
        """
        self._limits.connect(grant.owner)
        self._clients[sid] = Client(grant, session=session)

    def remove(self, sid: str) -> None:
        """Forget one; one that was never let in is ignored."""
        if (client := self._clients.pop(sid, None)) is not None:
            self._limits.disconnect(client.grant.owner)

    def get(self, sid: str) -> Client | None:
        """Return one; None if it is not connected any more."""
        return self._clients.get(sid)

    def of(self, sid: str) -> Client:
        """Return one.

        Raises:
            Refused: it is not connected any more.
        """
        if (client := self._clients.get(sid)) is None:
            raise Refused("unauthorized", "the connection has ended")
        return client

    def check_watched(self, sid: str) -> None:
        """See whether a client may watch one more job.

        Raises:
            Refused: it watches too many, or has gone.
        """
        self._limits.watch(len(self.of(sid).watched))

    def watch(self, sid: str, job: str) -> None:
        """Send a client the events of a job from now on.

        Raises:
            Refused: it watches too many, or has gone.
        """
        client = self.of(sid)
        if job not in client.watched:
            self.check_watched(sid)
            client.watched.add(job)
        self._namespace.enter_room(sid, room_of_job(job))

    def watch_all(self, sid: str) -> None:
        """Send a client the events of all jobs of its owner from now on."""
        client = self._clients[sid]
        client.all = True
        self._namespace.enter_room(sid, room_of_owner(client.grant.owner or ""))

    def unwatch(self, sid: str, job: str) -> None:
        """Send a client no more events of a job."""
        self._clients[sid].watched.discard(job)
        self._namespace.leave_room(sid, room_of_job(job))

    def refresh(
        self,
        sid: str,
        grant: Grant,
        owner_of: Callable[[str], str | None],
        session: Session | None = None,
    ) -> None:
        """Replace what a client may do; what it may not watch any more, it does not.

        Args:
            sid: of the client.
            grant: its new one.
            owner_of: returns whose job it is.
            session: what renews the new one; None if it is a token's.

        Raises:
            Refused: the new one is somebody else's, or the client has gone.
        """
        client = self.of(sid)
        if grant.owner != client.grant.owner:
            raise Refused("forbidden", "the token is another owner's: connect anew with it")
        client.grant, client.session, client.told = grant, session, False
        watches = grant.allows("watch")
        for job in list(client.watched):
            if not (watches and grant.names(job, owner_of(job))):
                self.unwatch(sid, job)
        if client.all and not watches:
            client.all = False
            self._namespace.leave_room(sid, room_of_owner(grant.owner or ""))

    def expire(self, now: float) -> None:
        """End the connections whose token has expired, and warn those whose token will soon.

        Args:
            now: seconds since the epoch.
        """
        for sid, client in list(self._clients.items()):
            left = client.grant.expires - now
            if left <= 0:
                self._namespace.disconnect(sid)
            elif not client.told and left <= (self._session_notice if client.session else NOTICE):
                client.told = True
                notice = {"expires": client.grant.expires, "seconds": round(left, 1)}
                self._namespace.server.emit(
                    "token_expiring", notice, to=sid, namespace=NAMESPACE, ignore_queue=True
                )
