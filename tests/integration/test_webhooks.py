"""Webhooks, with real brokers, databases and workers: each end is delivered, whatever dies."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from socket_server.archive.schema import DELIVERIES
from support.archive import ArchiveStack, event, new_database, publishing
from support.documents import blocks
from support.wait import until
from support.webhook_receiver import SECRET, Receiver

#: Seconds within which a delivery is made that has failed a few times.
SOON = 90


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def stacks(request, new_stack, tmp_path, rabbitmq, receiver):
    """Make a stack with an archive in a kind of database, which delivers to the receiver."""

    def new(kind, **more):
        url, variables = new_database(kind, request), {**receiver.variables, **more}
        stack = ArchiveStack(tmp_path / "stack", rabbitmq.new_vhost(), url, **variables)
        new_stack.stacks.append(stack)
        return stack

    return new


def end(scribe, *jobs):
    for job in jobs:
        scribe.send(event(job, "queued", 0, total=1, webhook="tests"))
        scribe.send(event(job, "succeeded", 0, result=job))


def delivered(stack):
    rows = stack.rows(select(DELIVERIES.c.id, DELIVERIES.c.delivered_at))
    return {row.id for row in rows if row.delivered_at is not None}


SHORT, LONG = pytest.mark.timeout(300), [pytest.mark.long, pytest.mark.timeout(2400)]


@pytest.mark.parametrize("down", [pytest.param(1.0, marks=SHORT), pytest.param(600.0, marks=LONG)])
def test_each_end_is_delivered_with_one_id_though_receiver_and_archive_were_down(
    stacks, receiver, down
):
    stack = stacks("postgresql")
    archive = stack.start_archive()
    first, second, third = ([f"{name}-{n}" for n in range(10)] for name in ("a", "b", "c"))
    attempted = select(DELIVERIES).where(DELIVERIES.c.attempts > 0)
    with publishing(stack.settings) as scribe:
        begun = time.monotonic()
        end(scribe, *first)
        until(lambda: len(stack.rows(attempted)) == 10, 60, "an attempt of each")
        assert stack.health()["webhooks"]["tests"]["failure"] == "Connection refused"
        assert stack.health()["status"] == "ok"
        archive.kill()
        end(scribe, *second)
        archive = stack.start_archive()
        until(lambda: time.monotonic() - begun >= down, down + 10, "the receiver", interval=1)
        receiver.answering.clear()
        with receiver:
            # It gets deliveries, and the archive is killed before it has an answer.
            until(lambda: receiver.received, down + SOON, "a delivery")
            archive.kill()
            receiver.answering.set()
            end(scribe, *third)
            archive = stack.start_archive()
            until(lambda: len(delivered(stack)) == 30, down + SOON, "all deliveries")
    ids = receiver.ids()
    assert {job: len(some) for job, some in ids.items()} == dict.fromkeys(
        [*first, *second, *third], 1
    )
    assert set().union(*ids.values()) == delivered(stack)
    assert len(receiver.received) > 30  # those that were killed unanswered came again
    assert all(one.event["data"]["result"] == one.event["data"]["job"] for one in receiver.received)
    assert archive.stop() == 0


def verifiers():
    """Return what the documentation says of verifying a delivery, by the name of the block."""
    found = {}
    for block in blocks("python"):
        if block.document.name == "webhooks.md" and block.title.startswith("verif"):
            scope = {}
            exec(block.text.replace("whsec_…", SECRET), scope)
            found[block.title] = scope["verified"]
    return found


def test_a_service_names_a_webhook_and_its_receiver_verifies_what_comes_as_the_docs_say(
    stacks, receiver
):
    stack = stacks("sqlite")
    stack.start_worker()
    stack.start_archive()
    receiver.statuses = [503]
    with receiver:
        job = stack.bridge.enqueue("support.add", [1, 2], owner="me", title="x", webhook="tests")
        stack.bridge.enqueue("support.add", [1, 2], owner="me")
        until(lambda: delivered(stack), SOON, "the delivery")
    told = receiver.received[-1]
    assert told.event["type"] == "job.succeeded"
    kept = {"job": job.id, "owner": "me", "title": "x", "name": "support.add", "result": 3}
    assert {name: told.event["data"].get(name) for name in kept} == kept
    assert [one.id for one in receiver.received] == [told.id] * 2
    assert len(verifiers()) == 2
    for name, verified in verifiers().items():
        assert verified(told.headers, told.body) == told.event, name
        late = {**told.headers, "webhook-timestamp": str(int(time.time()) - 3600)}
        other = {**told.headers, "webhook-id": "msg_x"}
        for headers, body in (
            (told.headers, told.body + b" "),
            (late, told.body),
            (other, told.body),
        ):
            with pytest.raises(Exception):  # noqa: B017 - each library has its own
                verified(headers, body)


#: Seconds after which the archive of a test calls a silent job lost.
SILENCE = 8.0


def test_the_loss_of_a_job_that_the_archive_could_not_hear_is_not_delivered(stacks):
    stack = stacks(
        "postgresql",
        TASKBRIDGE_RETENTION=str(SILENCE),
        TASKBRIDGE_STALLED_AFTER="1",
        TASKBRIDGE_LOST_AFTER=str(SILENCE / 2),
    )
    stack.start_archive()
    with publishing(stack.settings) as scribe:
        scribe.send(event("job", "queued", 0, total=1, webhook="tests"))
        scribe.send(event("job", "started", 0, attempt=1))
        line = [{"at": 1.0, "level": "INFO", "message": "a line"}]

        def work(seconds):
            until_then = time.monotonic() + seconds

            def over():
                scribe.send(event("job", "log", scribe.published, lines=line))
                return time.monotonic() > until_then

            until(over, seconds + 10, interval=0.5)

        work(2 * SILENCE)  # now it has listened for long enough
        with stack.away():
            work(2 * SILENCE)
        work(SILENCE)
        stack.await_position(scribe.published)
    assert stack.rows(select(DELIVERIES.c.type)) == []
    lost = select(DELIVERIES.c.type)
    until(lambda: stack.rows(lost) == [("job.lost",)], 60, "the loss of a job that says no more")
