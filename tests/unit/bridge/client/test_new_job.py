"""The id of a job that is being enqueued: a task's own, if the service has chosen one."""

from __future__ import annotations

import pytest
from celery import group, signature

from bridge.bus.sharding import shard_of
from bridge.client.new_job import NewJob
from bridge.settings import Settings


def new_job(task, options=None, **settings):
    settings = Settings(**settings)
    return NewJob.of(
        task, options if options is not None else {}, owner="o", settings=settings, redact=False
    )


def test_a_task_id_among_the_options_is_the_id_of_the_job():
    options = {"task_id": "t", "queue": "q"}
    assert new_job("a.task", options).id == "t"
    assert options == {"queue": "q"}, "it is passed once"


def test_a_frozen_signature_keeps_its_id_and_a_canvas_gets_one_of_its_own():
    frozen = signature("a.task", task_id="t")
    assert new_job(frozen).id == "t"
    assert new_job(group([frozen], task_id="t")).id != "t"


@pytest.mark.parametrize("odd", ["", 7, "t" * 256])
def test_what_is_no_id_is_not_taken(odd):
    assert new_job("a.task", {"task_id": odd}).id != odd


def test_the_id_implies_the_shard_of_the_owner():
    job = new_job("a.task", shards=4)
    assert shard_of(job.id, 4) == shard_of("o", 4)
