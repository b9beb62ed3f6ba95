"""``FanOut``: each change is sent to the clients that watch its job, or all jobs of its owner."""

from __future__ import annotations

from bridge.protocol.event import room_of_job, room_of_owner
from socket_server.bus.jobs_manager import JobsManager
from socket_server.journal.change import Change

__all__ = ["FanOut"]

#: Types of events of which a client that is behind gets only the newest of each task.
LATEST_WINS = frozenset({"progress", "estimate", "disturbed"})


class FanOut:
    """Sends changes to the rooms of a job and of its owner.

    Args:
        manager: sends events to rooms.
    """

    def __init__(self, manager: JobsManager) -> None:
        self._manager = manager

    def __call__(self, change: Change) -> bool:
        """Send a change; return whether a client gets it."""
        event, owner = change.event, change.snapshot.owner
        rooms = [room_of_job(event.job)]
        if owner:
            rooms.append(room_of_owner(owner))
        latest = (event.job, event.task, event.type) if event.type in LATEST_WINS else None
        return self._manager.deliver_job(change, rooms, latest)
