"""What events have to say besides bars, as lines of a terminal."""

import base64

from bridge.cli.console import shown
from bridge.cli.lines import MAX_PARTIAL, Lines


def output(*chunks, task="t"):
    return {"type": "output", "task": task, "at": 0, "data": {"chunks": list(chunks)}}


def test_a_line_of_output_that_comes_in_pieces_is_one_line():
    lines = Lines()
    assert lines.of(output("one\ntw")) == [b"one\n"]
    assert lines.of(output("o\nthree")) == [b"two\n"]
    assert lines.rest() == [b"three\n"]
    assert lines.rest() == []


def test_tasks_that_talk_at_once_do_not_mix():
    lines = Lines()
    assert lines.of(output("a", task="1")) == []
    assert lines.of(output("b\n", task="2")) == [b"b\n"]
    assert lines.of(output("a\n", task="1")) == [b"aa\n"]


def test_the_bytes_of_a_letter_may_come_in_two_pieces():
    lines = Lines()
    first, second = (base64.b64encode(part).decode() for part in (b"\xc3", b"\xa9\n"))
    assert lines.of(output({"base64": first})) == []
    assert lines.of(output({"base64": second})) == [b"\xc3\xa9\n"]


def test_what_a_job_writes_is_kept_byte_by_byte():
    written = b"\x1b[31m\xff\r\n\x00\t\n\n"
    chunk = {"base64": base64.b64encode(written).decode()}
    assert b"".join(Lines().of(output(chunk))) == written


def test_output_that_never_ends_a_line_is_not_kept_for_ever():
    lines, said = Lines(), b""
    for _ in range(40):
        said += b"".join(lines.of(output("x" * 60_000)))
        assert sum(len(text) for text in lines._partial.values()) <= MAX_PARTIAL
    assert len(said) + sum(map(len, lines.rest())) == 40 * 60_000 + 1


def test_what_a_carriage_return_overwrites_is_not_shown():
    assert shown(b"10%\r20%\r30%\r\n") == "30%"


def test_nothing_that_a_job_writes_moves_the_cursor_or_changes_colours_where_it_is_shown():
    said = b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2Jx\x07\xc2\x9b1m\xff\n"
    assert shown(said) == "red x\ufffd"


def test_an_attempt_that_goes_on_says_once_from_where():
    lines = Lines()

    def progress(run, share):
        resumed = {"at": 1000.0, "share": share}
        data = {"bars": [], "resumed": resumed, "attempt": run}
        return {"type": "progress", "task": "t", "at": 0, "run": run, "data": data}

    assert lines.of(progress(2, 0.579)) == ["attempt 2, from 57%"]
    assert lines.of(progress(2, 0.579)) == []
    [told] = lines.of(progress(3, None))
    assert told.startswith("attempt 3, from what was saved ")
    assert (
        lines.of({"type": "progress", "task": "t", "at": 0, "run": 4, "data": {"bars": []}}) == []
    )


def test_a_line_of_a_log_says_its_level_if_it_is_worth_it():
    said = [{"level": "INFO", "message": "a"}, {"level": "ERROR", "message": "b"}]
    log = {"type": "log", "task": "t", "at": 0, "data": {"lines": said}}
    assert Lines().of(log) == ["a", "ERROR: b"]


def test_a_disturbance_is_said_with_its_reason_and_so_is_its_end():
    lines = Lines()
    event = {"type": "disturbed", "task": "t", "at": 0}
    told = lines.of({**event, "data": {"disturbed": True, "reason": "the broker is away"}})
    assert told == ["no news for now: the broker is away"]
    assert lines.of({**event, "data": {"disturbed": False}}) == ["news of it comes again"]
