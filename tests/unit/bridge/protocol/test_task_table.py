"""A job's tasks: what is kept as they change is what a look at all of them would find."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import TERMINAL, TYPES, Event
from bridge.protocol.task_state import TaskState
from bridge.protocol.task_table import FLAGS, SPARE, TaskTable

KINDS = sorted(TYPES - {"cancelling", "estimate"})
STATES = ("queued", "running", "retrying", *sorted(TERMINAL))

changes = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from(KINDS), st.integers(0, 9), st.booleans(),
        st.sampled_from([{}, {"meta": {"x": 1}}, {"verdict": True}]),
    ),
    max_size=60,
)  # fmt: skip


def fold(table, name, kind, at, next_run, data):
    task = table.get(name) or TaskState(name, "n")
    run, seq, _ = task.order
    place = {"run": run + 1 + next_run, "seq": 0} if next_run or run < 0 else {"run": run}
    event = Event(
        job="j", task=name, type=kind, at=float(at), data=data,
        **{"seq": seq + 1, **place},
    )  # fmt: skip
    table.fold(task, event)


def check(table):
    tasks = list(table.values())
    for state in STATES:
        assert table.count(state) == sum(task.state == state for task in tasks)
    for name in FLAGS:
        assert table.count(name) == sum(getattr(task, name) for task in tasks)
    assert table.done == sum(task.ended for task in tasks)
    assert set(table.waiting()) == {task for task in tasks if task.waiting}
    failed = [task for task in tasks if task.failed]
    first = min(failed, key=lambda task: (task.ended_at or 0.0, task.task), default=None)
    assert table.first_failed() is first
    for most in (1, 3, 99):
        assert table.listed(most) == sorted(tasks, key=TaskState.place)[:most]
    assert {task.task for task in table.with_meta()} >= {task.task for task in tasks if task.meta}


@given(changes)
def test_counts_and_order_are_those_of_the_tasks_after_each_change(some):
    table = TaskTable()
    for number, change in enumerate(some):
        fold(table, *change)
        if number % 7 == 6:
            table.presume_cancelled(float(number), {"reason": "r"})
        check(table)


def test_many_changes_leave_no_more_behind_than_there_are_tasks():
    table, chance = TaskTable(), random.Random(7)
    for number in range(3000):
        kind = chance.choice(["started", "failed", "retrying", "lost"])
        fold(table, chance.choice("abcde"), kind, number, True, {})
    index = table._index
    assert max(len(index._places), len(index._failed)) <= 2 * len(table) + SPARE + 1
    check(table)


def test_a_table_of_one_task_keeps_no_index():
    table = TaskTable()
    fold(table, "a", "started", 1, False, {})
    assert table._index is None
    check(table)
