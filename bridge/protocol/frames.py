"""Names of all that travels between clients and a server, and the type of each.

The AsyncAPI description is made of these tables and of the types' JSON Schema.
"""

from __future__ import annotations

from typing import Any

from bridge.protocol import json_types, request_types
from bridge.protocol.request_types import ErrorObject, StreamEnd, StreamPush, StreamSnapshot

__all__ = ["EVENTS", "REQUESTS", "STREAMED"]

#: Requests of clients on ``/jobs``: types of the payload and of the answer.
REQUESTS: dict[str, tuple[Any, Any]] = {
    "watch": (request_types.WatchRequest, request_types.WatchAnswer),
    "unwatch": (request_types.UnwatchRequest, request_types.UnwatchAnswer),
    "jobs": (request_types.JobsRequest, request_types.JobsAnswer),
    "tasks": (request_types.TasksRequest, request_types.TasksAnswer),
    "cancel": (request_types.CancelRequest, request_types.CancelAnswer),
    "refresh": (request_types.RefreshRequest, request_types.RefreshAnswer),
    "enqueue": (request_types.EnqueueRequest, request_types.EnqueueAnswer),
    "run_again": (request_types.RunAgainRequest, request_types.RunAgainAnswer),
    "bulk": (request_types.BulkRequest, request_types.BulkAnswer),
}
#: Events of a server on ``/jobs``: type of the payload.
EVENTS: dict[str, Any] = {
    "job": json_types.JobEvent,
    "token_expiring": request_types.TokenExpiring,
    "token_renewed": request_types.TokenRenewed,
    "draining": request_types.Draining,
    "pushes_dropped": request_types.PushesDropped,
}
#: Events of an event stream: type of the data.
STREAMED: dict[str, Any] = {
    **EVENTS,
    "snapshot": StreamSnapshot,
    "push": StreamPush,
    "refused": ErrorObject,
    "end": StreamEnd,
}
