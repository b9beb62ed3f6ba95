"""The events broker is away for longer than the outbox lasts: the loss is told, and every job ends.

At full size, with ten minutes and 100,000 tasks, it is benchmarks/long_outage.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from support.outage import MIB, Outage
from support.short_tasks import PUSH_EVERY

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

JOBS, TASKS = 2, 800
#: Bytes of an outbox that holds the shortened ends of fewer tasks than there are.
BOUND = 256 * 1024


def test_an_outage_that_is_longer_than_the_outbox_lasts(rabbitmq, tmp_path):
    bound = {"TASKBRIDGE_OUTBOX_BYTES": str(BOUND)}
    with Outage(tmp_path, rabbitmq.new_vhost(), **bound) as outage:
        outage.warm_up()
        report = outage.run(JOBS, TASKS, seconds=0, deadline=120)
    assert report.contradictions == []
    assert Counter(report.jobs.values()) == {"failed": 1, "succeeded": 1}
    count = JOBS * TASKS
    metrics = {name.removeprefix("taskbridge_emitter_"): n for name, n in report.metrics.items()}
    # Of what the processes drop, their last word, a moment before all was sent, may lack some.
    assert metrics["dropped_lines_total"] > count / 2
    assert 0 < metrics["dropped_ends_total"] < count
    assert metrics["dropped_pushes_total"] == sum(one["count"] for one in report.told)
    assert report.pushes + sum(one["count"] for one in report.told) == count // PUSH_EVERY
    grown = outage.sampler.grown["child 0 of the worker"]
    assert grown.most - grown.before < 16 * MIB
    [told] = [line for line in report.logs if "dropped while it was away" in line and "own" in line]
    assert f"{metrics['dropped_ends_total']:.0f} ends of tasks" in told
