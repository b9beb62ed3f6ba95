"""``BulkRequest``: the fields of a request ``bulk``, which are checked here. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.protocol.json_types import JSONObject
from bridge.tokens import Grant
from socket_server.archive.finding.wanted import Wanted
from socket_server.journal.page import MAX_NEXT
from socket_server.messages.requests import Refused, text, whole
from socket_server.watching.search_request import wanted_of

__all__ = ["SCOPES", "BulkRequest", "action_of"]

#: Each action, with the scope that it needs beside ``watch``.
SCOPES = {"run_again": "enqueue", "cancel": "cancel"}
#: Most jobs that one request acts on, and that it acts on by default; and those of a preview.
MOST, USUAL, PREVIEWED = 200, 100, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequest:
    """What is to be done, and with which jobs."""

    action: str
    wanted: Wanted
    #: Whether it is only to be said what would be done.
    preview: bool
    #: Key of the asking; empty for a preview, and where none was given for ``cancel``.
    key: str
    limit: int
    #: Position of the first job; None for the newest.
    next: str | None

    @classmethod
    def of(cls, request: JSONObject, grant: Grant) -> BulkRequest:
        """Check a request.

        Raises:
            Refused: a field is wrong, or the grant does not allow to find these jobs.
        """
        action, preview = action_of(request), request.get("preview", False)
        if not isinstance(preview, bool):
            raise Refused("bad_request", "preview must be true or false")
        filter = request.get("filter", {})
        if not isinstance(filter, dict):
            raise Refused("bad_request", "filter must be an object with the fields of jobs")
        most = PREVIEWED if preview else MOST
        return cls(
            action=action,
            wanted=wanted_of(filter, grant),
            preview=preview,
            key=text(request, "key", required=action == "run_again" and not preview),
            limit=whole(request, "limit", default=most if preview else USUAL, most=most),
            next=text(request, "next", required=False, most=MAX_NEXT) or None,
        )


def action_of(request: JSONObject) -> str:
    """Return the action of a request.

    Raises:
        Refused: there is no such action.
    """
    if (action := request.get("action")) not in SCOPES:
        raise Refused("bad_request", f"action must be one of {', '.join(SCOPES)}")
    return str(action)
