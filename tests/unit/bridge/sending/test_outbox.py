"""The outbox: what was handed over comes out in order, as few events, within bounds."""

from __future__ import annotations

import base64
import sys
import threading

import pytest

from bridge.protocol.event import MAX_EVENT_BYTES, MAX_LOG_BYTES, Event, finite_json
from bridge.reporting.run import Run
from bridge.reporting.steps import Label
from bridge.sending.allowance import BURST, Shares
from bridge.sending.outbox import (
    LAST_WORDS,
    LINE_MEMORY,
    LINES,
    MAX_GATHERED,
    Line,
    Outbox,
    Push,
    Report,
)
from support.clock import Clock


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def switching():
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def new_run(task="t", **options):
    return Run(**{"job": "j", "task": task, "name": "n", **options})


def memory(text):
    """Return what a line takes of the outbox's bound."""
    return sys.getsizeof(text) + LINE_MEMORY


def room_for(outbox, count, text):
    outbox.max_bytes = count * memory(text)


def texts(events, task=None):
    """Return all log lines and chunks of some events, in order."""
    mine = [event for event in events if task in (None, event.task)]
    return [
        entry["message"] if isinstance(entry, dict) and "message" in entry else entry
        for event in mine
        for entry in event.data.get("lines", event.data.get("chunks", []))
    ]


def test_lines_and_lifecycle_come_out_in_the_order_in_which_they_came_in(outbox):
    run = new_run()
    outbox.put(Report(run, "started", {}, 1.0))
    outbox.put_line(run, "log", "one", 2.0)
    outbox.put(Report(run, "retrying", {"error": {}}, 3.0))
    outbox.put_line(run, "output", "two", 4.0)
    outbox.put_line(run, "log", "three", 5.0)
    outbox.put(Report(run, "succeeded", {"result": 1}, 6.0))
    events = list(outbox.gather())
    kinds = [(event.type, event.seq, event.at) for event in events]
    assert kinds == [
        ("started", 0, 1.0), ("log", 1, 2.0), ("retrying", 2, 3.0),
        ("output", 3, 4.0), ("log", 4, 5.0), ("succeeded", 5, 6.0),
    ]  # fmt: skip
    assert texts(events) == ["one", "two", "three"]
    assert len(outbox) == 0


def test_a_log_line_travels_with_its_time_and_level_and_output_as_it_is(outbox):
    run = new_run()
    outbox.put_line(run, "log", "text", 1.5, "WARNING")
    outbox.put_line(run, "output", "a\n", 2.5)
    outbox.put_line(run, "output", b"\xff\x00", 3.5)
    log, output = outbox.gather()
    assert log.data == {"lines": [{"at": 1.5, "level": "WARNING", "message": "text"}]}
    assert output.data == {"chunks": ["a\n", {"base64": "/wA="}]}
    assert output.at == 2.5


def test_lines_of_a_run_and_type_between_two_of_its_other_events_become_one(outbox):
    run = new_run()
    for number in range(100):
        outbox.put_line(run, "log", str(number), 1.0)
        outbox.put_line(run, "output", f"{number},", 1.0)
    outbox.put(Report(run, "succeeded", {}, 1.0))
    logs, output, last = outbox.gather()
    assert texts([logs]) == [str(number) for number in range(100)]
    assert "".join(texts([output])) == "".join(f"{number}," for number in range(100))
    assert last.type == "succeeded"


def test_lines_of_two_runs_are_not_gathered_together(outbox):
    runs = [new_run("a"), new_run("b")]
    for number in range(6):
        outbox.put_line(runs[number % 2], "log", str(number), 1.0)
    events = list(outbox.gather())
    assert {event.task: texts([event]) for event in events} == {
        "a": ["0", "2", "4"],
        "b": ["1", "3", "5"],
    }


def test_the_last_state_of_the_bars_comes_before_a_lifecycle_event(outbox):
    run = new_run()
    outbox.put(Report(run, "started", {}, 1.0))
    assert [event.type for event in outbox.gather()] == ["started"]
    run.meta = {"a": 1}
    outbox.put_line(run, "log", "last words", 2.0)
    outbox.put(Report(run, "succeeded", {}, 2.0))
    log, progress, succeeded = outbox.gather()
    assert [event.type for event in (log, progress, succeeded)] == ["log", "progress", "succeeded"]
    assert log.order < progress.order < succeeded.order


def test_pushes_and_marks_come_out_as_they_are_and_in_order(outbox):
    run, mark, push = new_run(), threading.Event(), Push("event", [1, 2], "/", None)
    outbox.put_line(run, "log", "before", 1.0)
    outbox.put(mark)
    outbox.put(push)
    outbox.put_line(run, "log", "after", 1.0)
    first, *middle, last = outbox.gather()
    assert middle == [mark, push]
    assert (texts([first]), texts([last])) == (["before"], ["after"])
    assert not mark.is_set()


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\0", '"', "\ud800"])
def test_gathered_lines_fit_an_event_whatever_they_are_made_of(outbox, letter):
    run = new_run("t" * 255, job="j" * 255, owner="é" * 255)
    text = letter * (MAX_LOG_BYTES // len(letter.encode("utf-8", "surrogatepass")))
    for _ in range(40):
        outbox.put_line(run, "log", text, 1.0, "WARNING")
    events = list(outbox.gather(1 << 30))
    assert all(len(finite_json([event.encode()])) <= MAX_EVENT_BYTES for event in events)
    assert texts(events) == [text] * 40


def test_gathered_bytes_fit_an_event_and_come_back_equal(outbox):
    run, chunks = new_run(), [bytes([number]) * 32 * 1024 for number in range(20)]
    for chunk in chunks:
        outbox.put_line(run, "output", chunk, 1.0)
    events = list(outbox.gather(1 << 30))
    assert all(len(finite_json([event.encode()])) <= MAX_EVENT_BYTES for event in events)
    assert all(Event.decode(event.encode()) == event for event in events)
    assert [base64.b64decode(chunk["base64"]) for chunk in texts(events)] == chunks


def test_many_small_lines_need_few_events(outbox):
    run = new_run()
    for number in range(5000):
        outbox.put_line(run, "log", f"line {number}", 1.0, "INFO")
    events = list(outbox.gather(1 << 30))
    assert len(events) < 13
    assert all(len(finite_json([event.encode()])) <= MAX_EVENT_BYTES for event in events)
    assert texts(events) == [f"line {number}" for number in range(5000)]


def test_of_too_many_lines_the_oldest_are_dropped_and_counted(outbox, monkeypatch):
    room_for(outbox, 10, "000")
    run = new_run()
    for number in range(100):
        outbox.put_line(run, "log", f"{number:03}", 1.0)
    assert len(outbox) == 10
    [event] = outbox.gather()
    assert texts([event]) == [f"{number:03}" for number in range(90, 100)]
    assert event.data["dropped"] == run.dropped == 90


def test_the_run_whose_line_was_dropped_counts_it(outbox, monkeypatch):
    room_for(outbox, 2, "0")
    quiet, loud = new_run("quiet"), new_run("loud")
    outbox.put_line(quiet, "log", "q", 1.0)
    for number in range(5):
        outbox.put_line(loud, "log", str(number), 1.0)
    assert (quiet.dropped, loud.dropped) == (1, 3)


def test_a_line_that_is_larger_than_all_that_may_be_kept_is_dropped_at_once(outbox, monkeypatch):
    room_for(outbox, 1, "small")
    run = new_run()
    outbox.put_line(run, "log", "x" * 1000, 1.0)
    assert (len(outbox), run.dropped) == (0, 1)
    outbox.put_line(run, "log", "small", 1.0)
    assert (texts(outbox.gather()), run.dropped) == (["small"], 1)


@pytest.mark.parametrize("text", ["x" * 4000, "語" * 4000, "😀" * 4000, b"b" * 4000], ids=type)
def test_a_line_counts_with_the_memory_that_it_takes(outbox, monkeypatch, text):
    outbox.max_bytes = 100_000
    run = new_run()
    for _ in range(50):
        outbox.put_line(run, "output", text, 1.0)
    assert len(outbox) == 100_000 // (sys.getsizeof(text) + LINE_MEMORY)
    assert len(outbox) + run.dropped == 50


def test_what_was_gathered_makes_room_again(outbox, monkeypatch):
    room_for(outbox, 10, "0")
    run = new_run()
    for _ in range(20):
        for number in range(10):
            outbox.put_line(run, "log", str(number), 1.0)
        assert len(texts(outbox.gather())) == 10
    assert run.dropped == 0


def test_what_one_gathering_takes_is_bounded_and_the_rest_waits(outbox):
    run = new_run()
    for number in range(100):
        outbox.put_line(run, "output", f"{number:03}" * 1000, 1.0)
    outbox.put(Report(run, "succeeded", {}, 1.0))
    first = texts(outbox.gather(10_000))
    assert len(first) == 4  # 10 kB are only full with the fourth of 3 kB
    assert len(outbox) == 97
    rest = list(outbox.gather())
    assert first + texts(rest) == [f"{number:03}" * 1000 for number in range(100)]
    assert rest[-1].type == "succeeded"


def test_unless_told_otherwise_one_gathering_takes_half_a_megabyte(outbox):
    run = new_run()
    for _ in range(200):
        outbox.put_line(run, "output", "x" * 4096, 1.0)
    size = sum(len(chunk) for chunk in texts(outbox.gather()))
    assert MAX_GATHERED * 0.9 < size <= MAX_GATHERED


def test_an_empty_outbox_gives_nothing(outbox):
    assert list(outbox.gather()) == []
    assert not outbox


@pytest.mark.parametrize("when", ["put", "taken"])
def test_a_line_that_comes_in_while_another_is_put_or_taken_is_counted(outbox, monkeypatch, when):
    room_for(outbox, 10, "0")
    memory, run, between = Line.memory, new_run(), ["x"]

    def interrupted(line):
        if between:
            outbox.put_line(run, "log", between.pop(), 1.0)
        return memory(line)

    if when == "taken":
        outbox.put_line(run, "log", "0", 1.0)
    monkeypatch.setattr(Line, "memory", interrupted)
    if when == "put":
        outbox.put_line(run, "log", "0", 1.0)
    assert sorted(texts(outbox.gather())) == ["0", "x"]
    for number in range(15):
        outbox.put_line(run, "log", str(number % 10), 1.0)
    assert (len(outbox), run.dropped) == (10, 5)


def put_numbers(outbox, run, count):
    for number in range(count):
        outbox.put_line(run, "output", f"{number:04}", 1.0)
    outbox.put(Report(run, "succeeded", {}, 1.0))


def gathered_while(outbox, threads):
    """Start threads, and return all that comes out until they are done and the box is empty."""
    events = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or outbox:
        events += [event for event in outbox.gather(500) if event.type != "progress"]
    return events


def test_with_threads_putting_while_another_gathers_each_line_is_told_or_counted(
    outbox, monkeypatch, switching
):
    room_for(outbox, 20, "0000")
    runs = [new_run(str(number)) for number in range(4)]
    threads = [threading.Thread(target=put_numbers, args=(outbox, run, 400)) for run in runs]
    events = gathered_while(outbox, threads)
    assert sum(run.dropped for run in runs) > 0
    for run in runs:
        told = texts(events, run.task)
        assert told == sorted(told)
        assert len(set(told)) + run.dropped == 400
        mine = [event for event in events if event.task == run.task]
        assert sum(event.data.get("dropped", 0) for event in mine) == run.dropped
        assert mine[-1].type == "succeeded"


def test_threads_that_put_at_once_do_not_wear_the_bound_away(outbox, monkeypatch, switching):
    room_for(outbox, 20, "0000")
    threads = [threading.Thread(target=put_numbers, args=(outbox, new_run(), 400)) for _ in "123"]
    gathered_while(outbox, threads)
    run = new_run()
    for number in range(30):
        outbox.put_line(run, "output", f"{number:04}", 1.0)
    assert (len(outbox), run.dropped) == (20, 10)


def test_lines_and_events_of_a_run_keep_their_order_while_others_put_theirs(outbox, switching):
    def work(run):
        for number in range(100):
            outbox.put_line(run, "output", str(2 * number), 1.0)
            outbox.put(Report(run, "retrying", {"chunks": [str(2 * number + 1)]}, 1.0))

    runs = [new_run(str(number)) for number in range(3)]
    events = gathered_while(outbox, [threading.Thread(target=work, args=(run,)) for run in runs])
    for run in runs:
        assert texts(events, run.task) == [str(number) for number in range(200)]


RATE = 10_000.0
#: Bytes of text of a line in the tests of what a process may send, and such lines of one burst.
LONG, MANY = 1_000, 300


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limited(clock):
    return Outbox(Shares(RATE, clock=clock))


def put_lines(outbox, run, count, first=0, kind="log"):
    for number in range(first, first + count):
        outbox.put_line(run, kind, f"{number:06}".ljust(LONG), 1.0)


def numbers(events, task=None):
    return [int(text) for text in texts(events, task)]


def dropped(events):
    return sum(event.data.get("dropped", 0) for event in events)


def gathered(outbox):
    """Return all that is gathered, however often that takes."""
    events = []
    while outbox:
        events += outbox.gather()
    return events


def test_a_run_that_logs_too_much_loses_its_oldest_lines_and_says_how_many(limited, clock):
    run = new_run()
    put_lines(limited, run, 2 * MANY)
    events = gathered(limited)
    clock.tick(1.0)
    put_lines(limited, run, MANY, 2 * MANY)
    events += gathered(limited)
    limited.put(Report(run, "succeeded", {}, 2.0))
    events += gathered(limited)
    said = numbers(events)
    assert said == sorted(set(said))
    assert said[-1] == 3 * MANY - 1
    assert 0.4 * RATE * BURST < len(said) * LONG < 0.5 * RATE * (BURST + 1)
    assert dropped(events) + len(said) == 3 * MANY
    assert limited.dropped == run.limited == dropped(events)


def test_what_was_used_up_comes_back_with_time_and_no_more_than_a_burst(limited, clock):
    run = new_run()
    put_lines(limited, run, MANY)
    first = len(numbers(gathered(limited)))
    clock.tick(1.0)
    put_lines(limited, run, MANY)
    assert len(numbers(gathered(limited))) in (3, 4)
    clock.tick(100 * BURST)
    put_lines(limited, run, 3 * MANY)
    assert len(numbers(gathered(limited))) in range(first - 5, first + 5)


def test_a_run_that_floods_takes_nothing_from_one_beside_it(limited, clock):
    loud, quiet = new_run("loud"), new_run("quiet")
    events = []
    for second in range(200):
        put_lines(limited, loud, 50, 50 * second)
        put_lines(limited, quiet, 2, 2 * second)
        events += gathered(limited)
        clock.tick(1.0)
    assert numbers(events, "quiet") == list(range(400))
    assert loud.limited > 5_000
    assert quiet.limited == 0


def test_among_many_that_flood_the_one_that_says_little_is_heard_whole(limited, clock):
    loud, quiet = [new_run(f"loud-{number}") for number in range(8)], new_run("quiet")
    events = []
    for second in range(60):
        for run in loud:
            put_lines(limited, run, 40)
        limited.put_line(quiet, "log", str(second), 1.0)
        events += limited.gather()
        clock.tick(1.0)
    assert numbers(events, "quiet") == list(range(60))
    heard = [len(texts(events, run.task)) for run in loud]
    assert max(heard) - min(heard) < 0.2 * max(heard)


def test_one_run_after_the_other_gets_no_more_than_the_process_may_send(limited):
    for _ in range(20):
        put_lines(limited, new_run(), MANY)
        events = gathered(limited)
    assert numbers(events) == []
    assert limited.dropped > 20 * MANY - RATE * BURST / LONG


def test_lifecycle_events_pass_a_flood_and_the_last_lines_before_an_end_with_them(limited):
    run = new_run()
    put_lines(limited, run, 5 * MANY)
    gathered(limited)
    put_lines(limited, run, MANY, 5 * MANY)
    limited.put(Report(run, "failed", {"error": {}}, 2.0))
    events = gathered(limited)
    assert [event.type for event in events] == ["log", "failed"]
    last = 6 * MANY
    assert numbers(events) == list(range(last - LAST_WORDS // (LONG + 100), last))
    for _ in range(1000):
        limited.put(Report(run, "retrying", {}, 2.0))
    assert len(gathered(limited)) == 1000


def test_output_and_log_lines_of_a_run_are_limited_together_the_oldest_first(limited):
    run, pairs = new_run(), 220
    for number in range(pairs):
        put_lines(limited, run, 1, 2 * number)
        limited.put_line(run, "output", f"{2 * number + 1:06}".ljust(LONG), 1.0)
    said = sorted(numbers(gathered(limited)))
    assert run.limited > 0
    assert said == list(range(run.limited, 2 * pairs))


def test_own_events_are_limited_by_themselves(limited, clock, caplog):
    run = new_run()
    for number in range(3 * MANY):
        limited.put(Push("mine", {"number": number, "text": "x" * LONG}, "/", None))
    pushed = gathered(limited)
    assert 0.2 * RATE * BURST < len(pushed) * LONG <= 0.5 * RATE * BURST + LONG
    assert limited.losses.pushes == 3 * MANY - len(pushed)
    assert caplog.text.count("TASKBRIDGE_LINE_BYTES_PER_SECOND") == 1
    put_lines(limited, run, 10)
    assert numbers(gathered(limited)) == list(range(10))
    clock.tick(1.0)
    limited.put(Push("mine", {"number": 0}, "/", None))
    assert len(gathered(limited)) == 1


@pytest.mark.parametrize("most", [1, 10, 100])
def test_no_event_is_larger_than_the_rate_however_few_bytes_it_allows(most, clock):
    outbox, run = Outbox(Shares(most, clock=clock)), new_run()
    put_lines(outbox, run, MANY)
    sent = sum(len(finite_json(event.data)) for event in gathered(outbox))
    assert sent <= most * BURST


def test_lines_and_chunks_in_steps_name_them_and_the_event_has_the_names(outbox):
    run, load, check = new_run(), Label(1, "load"), Label(2, "check")
    outbox.put_line(run, "log", "outside", 1.0, "INFO")
    for step in (load, check, load):
        outbox.put_line(run, "log", "in", 1.0, "INFO", step)
    outbox.put_line(run, "output", "a", 1.0)
    outbox.put_line(run, "output", b"b", 1.0, "", check)
    log, output = outbox.gather()
    assert [line.get("step") for line in log.data["lines"]] == [None, 1, 2, 1]
    assert log.data["step_names"] == {"1": "load", "2": "check"}
    assert output.data == {
        "chunks": ["a", {"base64": "Yg=="}],
        "chunk_steps": [None, 2],
        "step_names": {"2": "check"},
    }


@pytest.mark.parametrize("kind", ["log", "output"])
def test_lines_that_are_all_in_steps_of_their_own_fit_events(outbox, kind):
    run = new_run()
    for number in range(3_000):
        outbox.put_line(run, kind, "x", 1.0, "INFO", Label(2**52 + number, "\0" * 80))
    events = list(outbox.gather(10_000_000))
    assert sum(len(event.data[LINES[kind]]) for event in events) == 3_000
    assert max(len(finite_json(event.encode())) for event in events) <= MAX_EVENT_BYTES
    assert all(Event.decode(event.encode()) for event in events)
