"""The clients connected to ``/jobs``: the grant of each, and the jobs that it watches."""

from __future__ import annotations

from collections.abc import Callable, ItemsView
from dataclasses import dataclass, field

import socketio

from bridge.protocol.event import NAMESPACE, room_of_job, room_of_owner
from bridge.tokens import Grant
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.requests import Refused

__all__ = ["Client", "Clients", "Renewal", "Session"]

#: Seconds before its grant expires at which a client is warned.
NOTICE = 30.0
#: The same for a grant of a session, as a fraction of its longest life, if that is shorter: the
#: server itself tries to renew such a grant earlier.
LAST_PART = 0.1


@dataclass(slots=True)
class Session:
    """What a renewal of a client's grant needs beside the client's WSGI environment."""

    #: JSON of the client's auth payload.
    auth: str
    #: Seconds since the epoch at which the ``TASKBRIDGE_AUTH`` function is called again.
    renew_at: float
    asking: bool = False


@dataclass(slots=True)
class Renewal:
    """What a renewal of a client's token needs."""

    token: str
    #: Seconds since the epoch at which it is renewed.
    at: float
    #: Whether the last attempt failed: the job has ended, or the token is too old.
    failed: bool = False


@dataclass(slots=True)
class Client:
    """A connected client."""

    grant: Grant
    watched: set[str] = field(default_factory=set)
    #: Whether it watches all jobs of its owner.
    all: bool = False
    #: Whether it was warned that its grant will expire.
    told: bool = False
    #: Renews its grant; None for the grant of a token.
    session: Session | None = None
    #: Renews its token; None for one that is not renewed.
    renewal: Renewal | None = None
    #: Whether the server may yet read as far as its cursors: False after it has waited in vain.
    may_catch_up: bool = True


class Clients:
    """All clients connected to ``/jobs``.

    Args:
        namespace: Socket.IO namespace whose rooms the clients enter.
        limits: limits of clients per owner, and of watched jobs per client.
        session_ttl: longest life of a session's grant, in seconds.
    """

    def __init__(
        self, namespace: socketio.Namespace, limits: RateLimits, session_ttl: float
    ) -> None:
        self._namespace, self._limits = namespace, limits
        self._session_notice = min(NOTICE, LAST_PART * session_ttl)
        self._clients: dict[str, Client] = {}
        #: Number of clients that read an event stream.
        self.streams = 0

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def watches(self) -> int:
        """Sum of the numbers of jobs that each client watches."""
        return sum(len(client.watched) for client in self._clients.values())

    def items(self) -> ItemsView[str, Client]:
        """Return all clients with their ids."""
        return self._clients.items()

    def add(
        self,
        sid: str,
        grant: Grant,
        session: Session | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """Add a client; see :meth:`refresh` for the arguments.

        Raises:
            Refused: the owner has too many connections.
        """
        self._limits.connect(grant.owner)
        self._clients[sid] = Client(grant, session=session, renewal=renewal)

    def remove(self, sid: str) -> None:
        """Remove a client; an unknown id is ignored."""
        if (client := self._clients.pop(sid, None)) is not None:
            self._limits.disconnect(client.grant.owner)

    def get(self, sid: str) -> Client | None:
        """Return a client; None if it is not connected any more."""
        return self._clients.get(sid)

    def of(self, sid: str) -> Client:
        """Return a client.

        Raises:
            Refused: the client is not connected any more.
        """
        if (client := self._clients.get(sid)) is None:
            raise Refused("unauthorized", "the connection has ended")
        return client

    def check_watched(self, sid: str) -> None:
        """Check that a client may watch one more job.

        Raises:
            Refused: the client watches too many jobs, or is not connected any more.
        """
        self._limits.watch(len(self.of(sid).watched))

    def watch(self, sid: str, job: str) -> None:
        """Send a client the events of a job from now on.

        Raises:
            Refused: the client watches too many jobs, or is not connected any more.
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
        renewal: Renewal | None = None,
    ) -> None:
        """Replace a client's grant, and end the watches that the new grant does not allow.

        Args:
            sid: id of the client.
            grant: the new grant.
            owner_of: returns the owner of a job.
            session: renews the new grant; None for the grant of a token.
            renewal: renews the new grant's token; None for one that is not renewed.

        Raises:
            Refused: the new grant has another owner, or the client is not connected any more.
        """
        client = self.of(sid)
        if grant.owner != client.grant.owner:
            raise Refused("forbidden", "the token is another owner's: connect anew with it")
        client.grant, client.session, client.renewal = grant, session, renewal
        client.told = False
        watches = grant.allows("watch")
        for job in list(client.watched):
            if not (watches and grant.names(job, owner_of(job))):
                self.unwatch(sid, job)
        if client.all and not watches:
            client.all = False
            self._namespace.leave_room(sid, room_of_owner(grant.owner or ""))

    def expire(self, now: float) -> None:
        """Disconnect clients whose grant has expired; warn clients whose grant will expire soon.

        Args:
            now: seconds since the epoch.
        """
        for sid, client in list(self._clients.items()):
            left = client.grant.expires - now
            if left <= 0:
                self._namespace.disconnect(sid)
            elif not client.told and left <= self._notice(client):
                client.told = True
                notice = {"expires": client.grant.expires, "seconds": round(left, 1)}
                self._namespace.server.emit(
                    "token_expiring", notice, to=sid, namespace=NAMESPACE, ignore_queue=True
                )

    def _notice(self, client: Client) -> float:
        """Return how many seconds before the end of its grant a client is warned."""
        if client.renewal is not None and not client.renewal.failed:
            return 0.0  # its token is about to be renewed
        return self._session_notice if client.session else NOTICE
