"""Whether a watcher asks again that was refused; what it makes of events: test_novelty_twin.py."""

from __future__ import annotations

import pytest

from bridge.client.watcher import Watcher
from bridge.errors import JobNotFound, ResultsUnavailable, TaskbridgeError

SLOWER = {"code": "too_many_requests", "message": "slower", "temporary": True}
AWAY = {"code": "unavailable", "message": "no results"}
MISSING = {"code": "not_found", "message": "no such job"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SLOWER, TaskbridgeError), (AWAY, ResultsUnavailable), (MISSING, JobNotFound)],
    ids=["too many requests", "no results", "no job"],
)
def test_a_refusal_that_outlasts_the_timeout_is_raised_with_its_reason(error, kind):
    watcher = Watcher("http://test", "token", "job", timeout=0.0)
    with pytest.raises(kind, match=error["message"]) as raised:
        list(watcher._start({"ok": False, "error": error}))
    assert type(raised.value) is kind
