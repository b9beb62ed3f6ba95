"""Arguments that operators do not get to see, and tokens that are replaced in time."""

from __future__ import annotations

import time

import pytest

from bridge import TokenError, tokens
from bridge.client.watcher import Watcher
from support.monitor import Monitor
from support.wait import until

SECRET = "postgresql://me:a-password@host/db"


@pytest.fixture
def seen(stack):
    """What Celery's events say of tasks, as Flower gets it."""
    with Monitor(stack.bridge.app) as monitor:
        yield monitor.events


def received(events, job):
    """Return what was told of a task's arguments."""
    told = [one for one in list(events) if one["type"] == "task-received" and one["uuid"] == job]
    return [(one["args"], one["kwargs"]) for one in told]


@pytest.mark.parametrize("redact", [True, False])
def test_arguments_are_kept_from_operators_on_request(stack, seen, redact):
    job = stack.bridge.enqueue("support.add", [SECRET, "x"], owner="me", redact=redact)
    [(args, kwargs)] = until(lambda: received(seen, job.id), 30, "Celery's event")
    assert (SECRET in args) is not redact
    if redact:
        assert (args, kwargs) == ("<redacted>", f"<redacted> job={job.id} owner=me")
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    assert stack.bridge.status(job.id)["result"] == SECRET + "x"


def tokens_of(stack, job, seconds):
    """Return what signs tokens of a job, the first for ``seconds``, and the times of its calls."""
    asked = []

    def token():
        asked.append(time.monotonic())
        ttl = seconds if len(asked) == 1 else 600.0
        # The clock is behind, so that the leeway of 5 s is nearly used up.
        clock = lambda: time.time() - 5  # noqa: E731
        return tokens.sign(stack.settings.keys, jobs=[job.id], ttl=ttl, clock=clock)

    return token, asked


def test_a_watcher_outlives_the_token_that_it_began_with(stack):
    job = stack.bridge.enqueue("support.work", [12], owner="me")
    token, asked = tokens_of(stack, job, 8.0)
    watcher = Watcher(stack.url, token, job.id, timeout=20)
    dropped = []
    watcher._client.on("disconnect", lambda *_: dropped.append(1), namespace="/jobs")
    list(watcher)
    assert watcher.snapshot.state == "succeeded"
    assert len(asked) == 2
    assert len(dropped) <= 1  # by itself, at the end


def test_a_watcher_whose_token_expired_before_it_could_renew_it_comes_back_with_another(stack):
    job = stack.bridge.enqueue("support.work", [8], owner="me")
    token, asked = tokens_of(stack, job, 7.0)
    watcher = Watcher(stack.url, token, job.id, timeout=20)
    # As in a process that was suspended when the server warned it.
    watcher._client.on("token_expiring", lambda *_: None, namespace="/jobs")
    events = list(watcher)
    assert watcher.snapshot.state == "succeeded"
    assert watcher.recovered
    assert len(asked) == 2
    cursors = [event["cursor"] for event in events if event["type"] not in ("progress", "estimate")]
    assert len(cursors) == len(set(cursors))


def test_a_watcher_with_one_token_that_expired_says_so(stack):
    job = stack.bridge.enqueue("support.work", [8], owner="me")
    late = tokens.sign(stack.settings.keys, owner="me", ttl=6.0, clock=lambda: time.time() - 5)
    with pytest.raises(TokenError, match="expired"):
        list(Watcher(stack.url, late, job.id))
