"""A relay: what a forked child says reaches its parent's emitter, and never holds the child up."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge import job, progress
from bridge.reporting import current_job
from bridge.reporting.child_bars import ParentBars
from bridge.reporting.meter import Reading
from bridge.reporting.run import Run
from bridge.sending import fork_relay
from bridge.sending.emitter import Emitter
from bridge.settings import Settings
from support.wait import until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Kept(Emitter):
    """An emitter that keeps the lines it is handed, once it gets through the gate."""

    def __init__(self):
        super().__init__(Settings())
        self.lines = []
        self.steps = []
        self.gate = threading.Event()
        self.gate.set()

    def put_line_of(self, step, run, kind, text, level="", at=None):
        assert self.gate.wait(10)
        self.steps.append(step)
        self.lines.append((run.task, kind, text, level, at))

    @property
    def texts(self):
        return [text for _, _, text, _, _ in self.lines]


@pytest.fixture
def enter():
    """Enter runs for the length of a test, in which forks are relayed."""
    fork_relay.install()

    def enter(task):
        run, emitter = Run(job="j", task=task, name="n"), Kept()
        current_job.enter(run, emitter)
        ends.callback(current_job.leave, task)
        return run, emitter

    with ExitStack() as ends:
        yield enter
    try:
        until(lambda: not fork_relay._links, 2, "the end of all links", interval=0.001)
    finally:
        for link in fork_relay._links:
            link._end.close()
        fork_relay._links.clear()


@pytest.fixture
def here(enter):
    """A run that is the current one, and its emitter."""
    return enter("t")


def forked(what):
    """Do something in a child, which ends at once; return its pid."""
    if pid := os.fork():
        return pid
    status = 1
    try:  # pragma: no cover - in the child
        what()
        status = 0
    finally:
        os._exit(status)


def ended(*pids):
    """Wait for children; nothing may have gone wrong in them."""
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_a_child_says_before_it_ends_all_arrives_in_order(here):
    run, emitter = here
    pid = forked(lambda: [job.log(f"line {number}") for number in range(200)])
    ended(pid)
    fork_relay.settle(run)
    assert emitter.texts == [f"line {number}" for number in range(200)]
    assert run.dropped == 0


def test_a_child_s_lines_arrive_by_themselves_while_it_runs(here):
    _, emitter = here
    reading, writing = os.pipe()
    pid = forked(lambda: (job.log("first"), os.read(reading, 1), job.log("second")))
    until(lambda: emitter.texts == ["first"], 5, "the first line", interval=0.001)
    os.write(writing, b"x")
    until(lambda: emitter.texts == ["first", "second"], 5, "the second line", interval=0.001)
    ended(pid)
    os.close(reading)
    os.close(writing)


def test_a_line_arrives_as_it_was_said(here):
    run, emitter = here

    def work():
        job.log("é\ud800", "error")
        job.output("text\n")
        job.output(b"\xff\x00")
        current_job.here()[1].put_line(run, "log", "captured", "INFO", 7.5)

    before = time.time()
    ended(forked(work))
    fork_relay.settle(run)
    assert [line[:4] for line in emitter.lines] == [
        ("t", "log", "é\ud800", "ERROR"),
        ("t", "output", "text\n", ""),
        ("t", "output", b"\xff\x00", ""),
        ("t", "log", "captured", "INFO"),
    ]
    *said, captured = (at for *_, at in emitter.lines)
    assert all(before <= at <= time.time() for at in said)
    assert captured == 7.5


@pytest.mark.parametrize("text", ["\0" * 200_000, "😀" * 100_000, b"\xff" * 500_000], ids=type)
def test_output_of_any_length_arrives_whole(here, text):
    run, emitter = here
    pid = forked(lambda: job.output(text))
    arrived = until(lambda: sum(map(len, emitter.texts)) >= len(text), 10, "it", interval=0.001)
    ended(pid)
    fork_relay.settle(run)
    assert arrived
    assert type(text)().join(emitter.texts) == text


def test_children_and_their_parent_may_speak_at_once(here):
    run, emitter = here
    pids = [
        forked(lambda child=child: [job.log(f"{child} {number}") for number in range(50)])
        for child in range(3)
    ]
    for number in range(50):
        job.log(f"parent {number}")
    ended(*pids)
    fork_relay.settle(run)
    for name in ("parent", "0", "1", "2"):
        mine = [text for text in emitter.texts if text.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(50)]


def bars_of(run):
    """Return the bars of a run as clients get them: text, count and whether it is closed."""
    event = run.sample(force=True)
    return [(bar["desc"], bar["n"], bar["closed"]) for bar in event.data["bars"]]


def test_a_child_s_bar_moves_while_it_runs_and_stays_where_it_ended(here):
    run, _ = here
    run.event("started", {})
    ours = progress(total=9, desc="parent", position=0)
    ours.update(1)
    reading, writing = os.pipe()

    def child():
        bar = progress(total=4, desc="child", leave=True)
        bar.update(2)
        os.read(reading, 1)
        bar.update(2)
        bar.close()

    pid = forked(child)
    expected = [("parent", 1, False), ("child", 2, False)]
    until(lambda: bars_of(run) == expected, 5, "the child's bar", interval=0.01)
    os.write(writing, b"x")
    ended(pid)
    fork_relay.settle(run)
    assert bars_of(run) == [("parent", 1, False), ("child", 4, True)]
    ours.close()
    os.close(reading)
    os.close(writing)


def test_bars_of_many_children_at_once_each_have_a_line(here):
    run, _ = here
    run.event("started", {})
    reading, writing = os.pipe()

    def child(number):
        with progress(total=5, desc=f"child {number}") as bar:
            bar.update(number)
            os.read(reading, 1)

    pids = [forked(lambda number=number: child(number)) for number in range(4)]
    expected = [(f"child {number}", number, False) for number in range(4)]
    until(lambda: sorted(bars_of(run)) == expected, 5, "four bars", interval=0.01)
    os.write(writing, b"xxxx")
    ended(*pids)
    until(lambda: all(closed for *_, closed in bars_of(run)), 5, "their ends", interval=0.01)
    os.close(reading)
    os.close(writing)


def test_a_child_that_dies_leaves_no_bar_open(here):
    run, _ = here
    run.event("started", {})
    reading, writing = os.pipe()

    def grandchild():
        bar = progress(total=3, desc="grandchild")
        bar.update(1)
        os.read(reading, 1)

    def child():
        forked(grandchild)
        os.read(reading, 1)

    pid = forked(child)
    until(lambda: bars_of(run) == [("grandchild", 1, False)], 5, "its bar", interval=0.01)
    os.write(writing, b"xx")
    ended(pid)
    until(lambda: all(closed for *_, closed in bars_of(run)), 5, "its end", interval=0.01)
    os.close(reading)
    os.close(writing)


def test_bars_of_a_cancelled_job_are_left_out(here):
    run, _ = here
    run.cancelled = True
    reading = Reading(1, 2, "late")
    ParentBars(run).take([[1, 1, False, None, True, *reading]])
    assert run.reading is None


def test_what_a_grandchild_says_arrives_too(here):
    run, emitter = here

    def child():
        job.log("child")
        ended(forked(lambda: (job.log("grandchild"), ended(forked(lambda: job.log("its child"))))))
        job.log("child again")

    ended(forked(child))
    fork_relay.settle(run)
    assert emitter.texts == ["child", "grandchild", "its child", "child again"]


def test_a_grandchild_that_outlives_its_parent_is_heard(here):
    _, emitter = here
    reading, writing = os.pipe()

    def child():
        forked(lambda: (os.close(writing), os.read(reading, 1), job.log("late")))

    ended(forked(child))
    os.write(writing, b"x")
    until(lambda: emitter.texts == ["late"], 5, "the line", interval=0.001)
    os.close(reading)
    os.close(writing)


def test_a_child_belongs_to_the_job_in_which_it_was_forked(enter):
    first, said_first = enter("first")
    second, said_second = enter("second")
    told = lambda: (job.log(current_job.here()[0].task), job.output(str(len(current_job._running))))  # noqa: E731
    ended(forked(told))
    for run in (first, second):
        fork_relay.settle(run)
    assert said_first.lines == []
    assert said_second.texts == ["second", "1"]


def test_a_child_forked_outside_a_job_has_none(enter):
    run, emitter = enter("t")
    current_job.leave("t")

    def child():
        job.log("nobody hears")
        assert current_job.here() is None

    ended(forked(child))
    fork_relay.settle(run)
    assert emitter.lines == []
    assert fork_relay._links == []


def test_what_becomes_of_the_task_is_not_for_a_child_to_say(here):
    run, emitter = here

    def child():
        _, taker = current_job.here()
        taker.put(run, "succeeded", {})
        taker.remove(run)
        assert taker.flush(10)

    emitter.add(run)
    ended(forked(child))
    fork_relay.settle(run)
    assert emitter._running() == [run]
    assert len(emitter._outbox) == 0


def test_settling_takes_in_what_was_said_to_this_run_alone(enter, monkeypatch):
    read = fork_relay.Link._read
    monkeypatch.setattr(fork_relay.Link, "_read", lambda self: None)
    (first, said_first), first_pid = enter("first"), forked(lambda: job.log("one"))
    (second, said_second), second_pid = enter("second"), forked(lambda: job.log("two"))
    ended(first_pid, second_pid)
    fork_relay.settle(first)
    assert (said_first.texts, said_second.texts) == (["one"], [])
    fork_relay.settle(second)
    fork_relay.settle(second)
    assert said_second.texts == ["two"]
    for link in list(fork_relay._links):
        read(link)


@pytest.fixture
def pipes():
    """Two pipes: to a child, and from it."""
    ends = os.pipe() + os.pipe()
    yield ends[:2], ends[2:]
    for end in ends:
        os.close(end)


def flooded(here, pipes, then):
    """Let a child say a thousand lines while its parent does not read, and then something more.

    Returns:
        Seconds that the lines took the child.
    """
    run, emitter = here
    to_child, to_parent = pipes

    def child():
        begun = time.monotonic()
        for number in range(1000):
            job.output(f"{number:04}" * 1000)
        os.write(to_parent[1], f"{time.monotonic() - begun:09.4f}".encode())
        os.read(to_child[0], 1)
        then()

    emitter.gate.clear()
    pid = forked(child)
    took = float(os.read(to_parent[0], 9))
    emitter.gate.set()
    until(
        lambda: fork_relay.settle(run) or emitter.lines, 5, "the lines that fitted", interval=0.001
    )
    os.write(to_child[1], b"x")
    ended(pid)
    fork_relay.settle(run)
    return took


def test_a_parent_that_does_not_read_costs_a_child_a_short_wait_and_the_dropped_are_counted(
    here, pipes, monkeypatch
):
    run, emitter = here
    monkeypatch.setattr(fork_relay, "PATIENCE", 0.02)
    took = flooded(here, pipes, lambda: (job.log("after"), job.log("last")))
    assert took < 1
    *kept, after, last = emitter.texts
    assert (after, last) == ("after", "last")
    assert kept == [f"{number:04}" * 1000 for number in range(len(kept))]
    assert run.dropped > 0
    assert len(kept) + run.dropped == 1000


def test_what_a_child_dropped_its_own_children_do_not_count_again(here, pipes, monkeypatch):
    run, emitter = here
    monkeypatch.setattr(fork_relay, "PATIENCE", 0.02)
    flooded(here, pipes, lambda: (ended(forked(lambda: job.log("grandchild"))), job.log("child")))
    *kept, grandchild, child = emitter.texts
    assert (grandchild, child) == ("grandchild", "child")
    assert len(kept) + run.dropped == 1000


def test_a_parent_that_is_gone_costs_a_child_nothing():
    run = Run(job="j", task="t", name="n")
    ours, theirs = fork_relay.socket.socketpair(
        fork_relay.socket.AF_UNIX, fork_relay.socket.SOCK_SEQPACKET
    )
    ours.close()
    taker = fork_relay.ForkRelay(theirs)
    begun = time.monotonic()
    for _ in range(100):
        taker.put_line(run, "log", "nobody hears")
    assert time.monotonic() - begun < 1
    theirs.close()


def test_a_child_leaves_no_socket_and_no_thread_behind(here):
    def left():
        files = Path("/proc/self/fd").iterdir()
        sockets = [file for file in files if file.is_socket()]
        return len(sockets), [t for t in threading.enumerate() if t.name == "taskbridge-relay"]

    before, _ = left()
    ended(*[forked(lambda: job.log("x")) for _ in range(5)])
    until(lambda: left() == (before, []), 5, "the end of sockets and threads", interval=0.001)
    assert fork_relay._links == []


def test_a_child_that_is_gone_before_its_parent_goes_on_leaves_no_link_behind(here, monkeypatch):
    class Prompt(threading.Thread):
        def start(self):
            super().start()
            self.join(5)

    monkeypatch.setattr(threading, "Thread", Prompt)
    run, emitter = here
    ended(forked(lambda: job.log("x")))
    fork_relay.settle(run)
    assert emitter.texts == ["x"]
    assert fork_relay._links == []


def test_installing_again_changes_nothing(here, monkeypatch):
    monkeypatch.setattr(os, "register_at_fork", lambda **_: pytest.fail("it was done before"))
    fork_relay.install()


def listed(run):
    """Return name, state and name of the outer step of each step of a run."""
    steps = run.steps.sample().get("steps", [])
    names = {step["id"]: step["name"] for step in steps}
    return [(step["name"], step["state"], names.get(step["parent"])) for step in steps]


def test_a_child_s_steps_are_parts_of_the_step_in_which_it_was_forked_and_its_lines_name_them(here):
    run, emitter = here

    def work():
        with job.step("in the child"):
            job.log("line")

    run.event("started", {})
    with job.step("parent"):
        ended(forked(work))
        fork_relay.settle(run)
    assert listed(run) == [
        ("parent", "succeeded", None),
        ("in the child", "succeeded", "parent"),
    ]
    [label] = emitter.steps
    assert label == (run.steps.sample()["steps"][1]["id"], "in the child")


def test_a_step_in_which_a_child_ends_is_lost_and_one_that_it_leaves_of_its_parent_goes_on(here):
    run, _ = here
    parent = job.step("parent")

    def work():
        job.step("child").__enter__()
        job.step("inner").__enter__()
        until(lambda: not current_job.here()[1]._new_steps(), 5, "all steps sent", interval=0.001)
        parent.__exit__(None, None, None)

    with parent:
        ended(forked(work))
        until(lambda: ("inner", "lost", "child") in listed(run), 5, "its end", interval=0.001)
        assert listed(run)[:2] == [("parent", "running", None), ("child", "lost", "parent")]


def test_a_child_s_loop_of_steps_sends_few_messages_and_all_are_counted(here):
    run, _ = here

    def work():
        for number in range(5_000):
            with job.step(f"row {number}"):
                pass
        until(lambda: not current_job.here()[1]._new_steps(), 5, "all steps sent", interval=0.001)

    ended(forked(work))
    fork_relay.settle(run)
    steps = run.steps.sample()
    assert len(steps["steps"]) + steps["steps_omitted"] == 5_000
    assert steps["steps"][-1]["name"] == "row 4999"
