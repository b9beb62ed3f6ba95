"""Steps at a terminal and in a pipe: nested, few, and with their bars."""

from __future__ import annotations

import io
import re

import pytest

from bridge.cli.console import SafeConsole
from bridge.cli.live import LiveView
from bridge.cli.views.steps import MAX_ALIKE, MAX_ROWS, StepLines, nested, step_rows
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot


def step(number, parent=None, state="succeeded", name=None, took=3.0):
    ended_at = None if state == "running" else 100.0 + took
    named = {"id": number, "parent": parent, "name": name or f"s{number}"}
    return {**named, "state": state, "started_at": 100.0, "ended_at": ended_at}


def bar(desc, number=None):
    shape = {"position": 0, "desc": desc, "unit": "it", "unit_scale": False, "n": 1, "total": 4}
    rest = {"postfix": "", "rate": None, "eta": None, "elapsed": 1.0, "closed": False}
    return {**shape, **rest, **({"step": number} if number else {})}


class Job:
    """A job of one task, whose progress is folded in."""

    def __init__(self):
        self.snapshot, self._tick = Snapshot("j"), 0
        self.tell("started")

    def tell(self, kind, **data):
        """Fold an event in, and return it as JSON."""
        self._tick += 1
        order = {"run": 1, "seq": 0 if kind == "started" else 1, "tick": self._tick}
        event = Event(job="j", task="j", type=kind, at=104.0, name="n", data=data, **order)
        assert self.snapshot.apply(event)
        return event.encode()

    def rows(self, *steps, bars=(), omitted=0):
        self.tell("progress", bars=list(bars), steps=list(steps), steps_omitted=omitted)
        shown = []
        for row in step_rows(self.snapshot):
            text = row.note or (row.step["name"] if row.step else row.bar["desc"])
            shown.append((row.depth, text))
        return shown


@pytest.mark.parametrize(
    ("steps", "depths"),
    [
        ([step(1), step(2, 1), step(3, 2), step(4, 1), step(5)], [0, 1, 2, 1, 0]),
        ([step(2, 7), step(3, 2)], [0, 1]),  # the outer one is left out
        ([step(2, 3), step(3, 2), step(4, 4)], [0, 1, 0]),  # from a stranger
        ([step(1), step(1), step(2, 1)], [0, 1, 0]),
    ],
)
def test_steps_are_in_those_that_they_are_parts_of(steps, depths):
    assert [depth for depth, _ in nested(steps)] == depths


def test_bars_are_in_their_steps_and_parts_of_what_succeeded_are_folded():
    steps = [step(1), step(2, 1), step(3, None, "running"), step(4, 3, "failed"), step(5, 4)]
    bars = [bar("own"), bar("in 3", 3), bar("in 2", 2), bar("in none", 9)]
    assert Job().rows(*steps, bars=bars, omitted=1) == [
        (0, "own"),
        (0, "s1"),
        (0, "s3"),
        (1, "in 3"),
        (1, "s4"),
        (2, "s5"),
        (0, "in 2"),
        (0, "in none"),
        (0, "and 1 more step"),
    ]


def test_of_many_steps_the_newest_are_drawn_and_the_open_ones():
    steps = [step(1, None, "running"), *(step(number, 1) for number in range(2, 30))]
    rows = Job().rows(*steps, omitted=1_000)
    assert len(rows) == MAX_ROWS + 1
    assert rows[:2] == [(0, "s1"), (1, "s19")]
    assert rows[-2:] == [(1, "s29"), (0, "and 1,017 more steps")]


def test_in_a_pipe_a_line_says_where_a_step_begins_and_ends_once():
    job, lines = Job(), StepLines()

    def told(kind, **data):
        return list(lines.of(job.tell(kind, **data), job.snapshot))

    outer, inner = step(1, None, "running", "load"), step(2, 1, "running", "rows")
    assert told("progress", bars=[], steps=[outer]) == ["step load"]
    assert told("progress", bars=[], steps=[outer, inner]) == ["step load / rows"]
    assert told("progress", bars=[], steps=[outer, inner]) == []
    done = {**inner, "state": "failed", "ended_at": 103.0}
    assert told("progress", bars=[], steps=[outer, done]) == ["step load / rows: failed after 3s"]
    assert told("failed") == ["step load: failed after 4s"]


def test_in_a_pipe_few_of_many_steps_alike_have_a_line_and_all_that_fail():
    job, lines = Job(), StepLines()
    told = []
    for number in range(1, 100):
        state = "failed" if number == 50 else "succeeded"
        event = job.tell("progress", bars=[], steps=[step(number, None, state, "row")])
        told += lines.of(event, job.snapshot)
    assert told == [
        *["step row: succeeded after 3s"] * MAX_ALIKE,
        "step row: no further ones are shown, unless they fail",
        "step row: failed after 3s",
    ]


def test_at_a_terminal_a_step_has_its_state_its_duration_and_no_bar():
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=100, height=20)
    view = LiveView(console, lambda _: "", lambda _: ("over", ""))
    job = Job()
    steps = [step(1, name="load"), step(2, None, "running", "\x1b[31mcheck")]
    view.show(job.tell("progress", bars=[bar("rows", 2)], steps=steps), job.snapshot)
    view._progress.live.stop()
    console._color_system = None
    with console.capture() as captured:
        console.print(view._progress.make_tasks_table(view._progress.tasks))
    load, check, rows = captured.get().splitlines()
    assert re.search("load +succeeded +3s", load)
    assert re.search("check +running", check)
    assert "\x1b" not in check
    assert re.search("rows ━+.* 25 %", rows)


def test_in_a_pipe_a_step_ends_after_its_parts():
    job, lines = Job(), StepLines()
    steps = [step(1, took=9.0), step(2, 1, took=9.0), step(3, 1, took=1.0)]
    event = job.tell("progress", bars=[], steps=steps)
    assert list(lines.of(event, job.snapshot)) == [
        "step s1 / s3: succeeded after 1s",
        "step s1 / s2: succeeded after 9s",
        "step s1: succeeded after 9s",
    ]
