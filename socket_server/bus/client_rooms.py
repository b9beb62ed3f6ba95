"""``ClientRooms``: a manager that knows the rooms of each client."""

from __future__ import annotations

import socketio

__all__ = ["ClientRooms"]


class ClientRooms(socketio.PubSubManager):
    """Lets a client leave at a cost that does not depend on the number of all rooms.

    python-socketio's own manager looks through all rooms of a namespace whenever a client leaves,
    and each client has a room of its own: when thousands leave at once, the server would stand
    still for many seconds.
    """

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        #: Rooms of each client by its id, which is another one in each namespace.
        self._rooms_of: dict[str, set[str | None]] = {}

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        """Add a client to a room; see ``socketio.base_manager.BaseManager``."""
        super().basic_enter_room(sid, namespace, room, eio_sid)
        self._rooms_of.setdefault(sid, set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        """Remove a client from a room; see ``socketio.base_manager.BaseManager``."""
        super().basic_leave_room(sid, namespace, room)
        if (rooms := self._rooms_of.get(sid)) is not None:
            rooms.discard(room)
            if not rooms:
                del self._rooms_of[sid]

    def basic_disconnect(self, sid: str, namespace: str, **_: object) -> None:
        """Remove all that is known of a client; see ``socketio.base_manager.BaseManager``."""
        for room in tuple(self._rooms_of.get(sid, ())):
            self.basic_leave_room(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in (sids := pending.get(namespace, ())):
                sids.remove(sid)
                if not sids:
                    del pending[namespace]

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """Return the rooms that a client is in."""
        return [room for room in self._rooms_of.get(sid, ()) if room is not None]
