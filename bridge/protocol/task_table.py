"""``TaskTable``: the tasks of one job, with counts and an order that follow each change. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from bridge.protocol.event import TERMINAL, Event
from bridge.protocol.task_state import INCOMPLETE, PRESUMED, STALLED, Place, TaskState, Why

__all__ = ["TaskTable"]

#: Names under which tasks with a flag are counted, beside their states.
FLAGS = {"incomplete": INCOMPLETE, "stalled": STALLED, "presumed": PRESUMED}
#: A heap is rebuilt when it has more entries than twice the number of tasks plus this.
SPARE = 64


class Standing(NamedTuple):
    """The fields of a task on which its job's counts and order depend."""

    state: str
    flags: int
    place: Place
    ended_at: float | None

    def add_to(self, counts: dict[str, int], by: int = 1) -> None:
        """Add ``by`` to the counts of the task's state and of its flags."""
        counts[self.state] += by
        if self.flags:
            for name, flag in FLAGS.items():
                counts[name] += by * bool(self.flags & flag)


def standing(task: TaskState) -> Standing:
    """Return the current standing of a task."""
    return Standing(task.state, task.flags, task.place(), task.ended_at)


class TaskTable(dict[str, TaskState]):
    """Tasks by id, in the order of their first events.

    A change of one of n tasks takes O(log n), amortized. A table of one task, as most jobs have,
    keeps no index.
    """

    __slots__ = ("_index",)

    _index: TaskIndex | None

    def __init__(self, tasks: Iterable[TaskState] = ()) -> None:
        super().__init__((task.task, task) for task in tasks)
        self._index = TaskIndex(self) if len(self) > 1 else None

    def fold(self, task: TaskState, event: Event) -> None:
        """Fold an event into a task, which is added if it is new."""
        if (index := self._index) is None:
            task.apply(event)
            self[task.task] = task
            self._index = TaskIndex(self) if len(self) > 1 else None
            return
        before = standing(task) if task.task in self else None
        task.apply(event)
        self[task.task] = task
        index.move(task, before)

    def presume_cancelled(self, at: float, why: Why) -> bool:
        """Mark all waiting tasks as cancelled; return whether there were any.

        Args:
            at: seconds since the epoch.
            why: ``reason`` of the end.
        """
        waiting = self.waiting()
        for task in waiting:
            before = standing(task)
            task.presume("cancelled", at, why)
            if self._index is not None:
                self._index.move(task, before)
        return bool(waiting)

    def count(self, kind: str) -> int:
        """Return the number of tasks in a state, or ``incomplete``, ``stalled``, ``presumed``."""
        if self._index is not None:
            return self._index.counts[kind]
        flag = FLAGS.get(kind, 0)
        return sum(bool(task.flags & flag) or task.state == kind for task in self.values())

    @property
    def done(self) -> int:
        """Number of tasks that have ended."""
        if self._index is not None:
            return sum(self._index.counts[state] for state in TERMINAL)
        return sum(task.ended for task in self.values())

    def waiting(self) -> list[TaskState]:
        """Return the tasks that wait for their first run or for a retry."""
        tasks = self if self._index is None else self._index.waiting
        return [task for task in tasks.values() if task.waiting]

    def first_failed(self) -> TaskState | None:
        """Return the task that was the first to end without success; None if there is none."""
        if self._index is not None:
            return self._index.first_failed()
        return next((task for task in self.values() if task.failed), None)

    def listed(self, most: int) -> list[TaskState]:
        """Return the first tasks, ordered by their place.

        Args:
            most: maximum number of tasks.
        """
        return list(self.values())[:most] if self._index is None else self._index.listed(most)

    def with_meta(self) -> list[TaskState]:
        """Return the tasks that may have meta, the one that began last at the end."""
        tasks = self if self._index is None else self._index.with_meta
        return sorted(tasks.values(), key=lambda task: (task.order[0], task.task))


class TaskIndex:
    """Counts, groups and order of many tasks.

    Args:
        tasks: all tasks by id; shared with the table.
    """

    __slots__ = ("_failed", "_places", "_tasks", "counts", "waiting", "with_meta")

    def __init__(self, tasks: dict[str, TaskState]) -> None:
        self._tasks = tasks
        self.counts: dict[str, int] = defaultdict(int)
        self.waiting: dict[str, TaskState] = {}
        self.with_meta: dict[str, TaskState] = {}
        # Heaps; their outdated entries are dropped when they come to the top.
        self._failed: list[tuple[float, str]] = []
        self._places: list[Place] = []
        for task in tasks.values():
            self.move(task, None)

    def move(self, task: TaskState, before: Standing | None) -> None:
        """Update the index after a change of a task.

        Args:
            task: the task in its new state.
            before: standing before the change; None for a new task.
        """
        if task.meta:
            self.with_meta[task.task] = task
        else:
            self.with_meta.pop(task.task, None)
        if before == (after := standing(task)):
            return
        if before is not None:
            before.add_to(self.counts, -1)
        after.add_to(self.counts)
        if task.waiting:
            self.waiting[task.task] = task
        else:
            self.waiting.pop(task.task, None)
        self._push(task, before, after)

    def _push(self, task: TaskState, before: Standing | None, after: Standing) -> None:
        if before is None or before.place != after.place:
            heappush(self._places, after.place)
        if task.failed:
            heappush(self._failed, _end(task))
        limit = 2 * len(self._tasks) + SPARE
        if len(self._places) > limit:
            self._places = [one.place() for one in self._tasks.values()]
            heapify(self._places)
        if len(self._failed) > limit:
            self._failed = [_end(one) for one in self._tasks.values() if one.failed]
            heapify(self._failed)

    def first_failed(self) -> TaskState | None:
        """See :meth:`TaskTable.first_failed`."""
        while self._failed:
            task = self._tasks[self._failed[0][1]]
            if task.failed and _end(task) == self._failed[0]:
                return task
            heappop(self._failed)
        return None

    def listed(self, most: int) -> list[TaskState]:
        """See :meth:`TaskTable.listed`."""
        found: dict[Place, TaskState] = {}
        while self._places and len(found) < most:
            place = heappop(self._places)
            if (task := self._tasks[place[-1]]).place() == place:
                found[place] = task
        for place in found:
            heappush(self._places, place)
        return list(found.values())


def _end(task: TaskState) -> tuple[float, str]:
    return (task.ended_at or 0.0, task.task)
