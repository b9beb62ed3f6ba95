"""The archive, with real brokers and databases: each event is written once, whatever dies."""

from __future__ import annotations

import itertools
import json

import kombu
import pytest
from celery import signature
from sqlalchemy import select

from socket_server.archive.schema import GAPS, JOBS, TASKS
from socket_server.bus.sources import Stream
from support.archive import Flood, event, line_texts, new_database, publishing
from support.mixed import CODE, MixedArchiveStack
from support.wait import until


@pytest.fixture
def archives(request, new_stack, tmp_path):
    """Make stacks with an archive in a kind of database."""

    def new(kind, broker_url, **variables):
        url = new_database(kind, request)
        stack = MixedArchiveStack(tmp_path / "stack", broker_url, url, **variables)
        new_stack.stacks.append(stack)
        return stack

    return new


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]
#: Rounds of a flood between two kills of the archive.
ROUNDS = 40


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=LONG)])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_archive_that_is_killed_amid_a_flood_and_loses_its_database_has_each_event_once(
    archives, rabbitmq, kind, kills
):
    stack = archives(kind, rabbitmq.new_vhost())
    archive = stack.start_archive()

    def kill(number):
        nonlocal archive
        if number % ROUNDS == ROUNDS // 2:
            archive.kill()
            archive = stack.start("archive", *stack.command("archive"))

    with publishing(stack.settings) as scribe:
        flood = Flood(scribe, jobs=20, lines=ROUNDS * kills)
        flood.run(kill)
        stack.await_position(scribe.published)
        flood.check(stack)
        with stack.away():
            later = Flood(scribe, jobs=20, lines=100, begin=20)
            later.run()
            until(lambda: stack.health().get("reason"), 30, "the word of the archive's health")
            assert stack.health()["reason"] == "the database does not answer"
        stack.await_position(scribe.published)
        later.check(stack)
        until(lambda: stack.health()["status"] == "ok" and stack.health()["lag"] == 0, 30, "no lag")
    figures = stack.figures()
    assert figures["taskbridge_archive_failures_total"] > 0
    assert figures["taskbridge_archive_gaps_total"] == 0
    assert archive.stop() == 0


#: Bytes of a stream, of which the broker drops a quarter, a file, at a time.
STREAM_BYTES = 400_000


@pytest.mark.parametrize("size", [STREAM_BYTES // 50, 2 * STREAM_BYTES], ids=["in part", "whole"])
def test_what_the_stream_dropped_before_it_was_read_is_told(archives, rabbitmq, size):
    """Each event is smaller than a file, or larger than the stream, which then keeps none of it."""
    stack = archives("sqlite", rabbitmq.new_vhost(), TASKBRIDGE_STREAM_BYTES=str(STREAM_BYTES))
    archive = stack.start_archive()
    with publishing(stack.settings) as scribe, kombu.Connection(stack.settings.events) as other:
        scribe.send(event("open", "started", 0, attempt=1))
        scribe.send(event("done", "succeeded", 0))
        stack.await_position(scribe.published)
        assert archive.stop() == 0
        lines = [{"at": 1.0, "level": "INFO", "message": "x" * size}]
        numbers = itertools.count(1)

        def dropped():
            # The broker looks for what it may drop when it begins a file of the stream.
            for number in itertools.islice(numbers, 10):
                scribe.send(event("open", "log", number, lines=lines))
            return not 0 <= Stream(stack.settings).oldest(other) <= 2

        until(dropped, 60, "the stream to drop what was not read")
        stack.start_archive()
        scribe.send(event("open", "log", next(numbers), lines=lines[:0]))
        stack.await_position(scribe.published)
    found = dict(stack.rows(select(JOBS.c.job, JOBS.c.missed)))
    assert found == {"open": True, "done": False}
    # On a busy machine, the stream drops more while the archive reads.
    gaps = stack.rows(select(GAPS))
    assert gaps
    assert all(gap.reason.startswith("events are missing") for gap in gaps)
    assert all(0 < gap.since < gap.until for gap in gaps)
    snapshot = json.loads(stack.rows(select(JOBS.c.snapshot).where(JOBS.c.job == "open"))[0][0])
    assert snapshot["incomplete"]


@pytest.mark.parametrize("broker", ["embedded", "redis"])
def test_without_a_stream_it_archives_what_it_hears_and_says_what_it_may_have_missed(
    archives, request, broker
):
    redis = request.getfixturevalue("redis_server").url if broker == "redis" else None
    channel = {"TASKBRIDGE_CHANNEL": "archived"} if redis else {}
    stack = archives("sqlite", redis, **channel)
    stack.start_worker()
    archive = stack.start_archive()
    job = stack.bridge.enqueue("support.talk", args=[3], owner="somebody")
    wanted = select(JOBS.c.state).where(JOBS.c.job == job.id)
    until(lambda: stack.rows(wanted) == [("succeeded",)], 30, "the job's end in the archive")
    assert len(line_texts(stack, job.id)) == 3
    [task] = stack.rows(select(TASKS).where(TASKS.c.job == job.id))
    assert task.queued_at <= task.started_at <= task.ended_at
    canvas = signature("support.add", (1, 2)) | signature("support.add", (3,))
    chained = stack.bridge.enqueue(canvas, owner="somebody")
    wanted = select(TASKS.c.task, TASKS.c.parent).where(TASKS.c.job == chained.id)
    ended = wanted.where(TASKS.c.state == "succeeded")
    until(lambda: len(stack.rows(ended)) == 2, 30, "both tasks in the archive")
    parents = {parent: task for task, parent in stack.rows(wanted)}
    assert set(parents) == ({None} if CODE["worker"] else {None, parents[None]})
    assert archive.stop() == 0
    stack.start_archive()
    [gap] = until(lambda: stack.rows(select(GAPS)), 30, "the gap")
    assert gap.reason.startswith("events may be missing")


def test_a_second_archive_of_the_same_channel_ends_with_a_sentence(archives, rabbitmq):
    stack = archives("postgresql", rabbitmq.new_vhost())
    first = stack.start_archive()
    second = stack.start("archive", *stack.command("archive"), TASKBRIDGE_ARCHIVE_PORT="")
    with publishing(stack.settings) as scribe:
        second.await_output("archiving")
        number = 0

        def ended():
            nonlocal number
            number += 1
            scribe.send(event(f"job-{number}", "started", 0, attempt=1))
            return not (first.running and second.running)

        # Quick: two that always read up to the same message write the same, and neither notices.
        until(ended, 60, "the end of one of them", interval=0.002)
        [loser] = [one for one in (first, second) if not one.running]
        assert loser.wait() == 1
        assert "taskbridge: another archive writes the events of taskbridge" in loser.output
        assert "Traceback" not in loser.output
        stack.await_position(scribe.published)
    assert len(stack.rows(select(JOBS.c.job).where(JOBS.c.events == 1))) == number
