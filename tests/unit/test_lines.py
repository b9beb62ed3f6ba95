"""What events have to say besides bars, as lines of a terminal."""

import base64

from bridge.cli.lines import Lines


def output(*chunks, task="t"):
    return {"type": "output", "task": task, "at": 0, "data": {"chunks": list(chunks)}}


def test_a_line_of_output_that_comes_in_pieces_is_one_line():
    lines = Lines()
    assert lines.of(output("one\ntw")) == ["one"]
    assert lines.of(output("o\nthree")) == ["two"]
    assert lines.rest() == ["three"]
    assert lines.rest() == []


def test_tasks_that_talk_at_once_do_not_mix():
    lines = Lines()
    assert lines.of(output("a", task="1")) == []
    assert lines.of(output("b\n", task="2")) == ["b"]
    assert lines.of(output("a\n", task="1")) == ["aa"]


def test_the_bytes_of_a_letter_may_come_in_two_pieces():
    lines = Lines()
    first, second = (base64.b64encode(part).decode() for part in (b"\xc3", b"\xa9\n"))
    assert lines.of(output({"base64": first})) == []
    assert lines.of(output({"base64": second})) == ["\u00e9"]


def test_what_a_carriage_return_overwrites_is_not_shown():
    assert Lines().of(output("10%\r20%\r30%\r\n")) == ["30%"]


def test_nothing_that_a_job_says_moves_the_cursor_or_changes_colours():
    said = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2Jx\x07\x9b1m\n"
    assert Lines().of(output(said)) == ["red x1m"]
    log = {"type": "log", "task": "t", "at": 0, "data": {"lines": [{"message": "a\x1b[2Jb\nc"}]}}
    assert Lines().of(log) == ["ab\nc"]


def test_a_line_of_a_log_says_its_level_if_it_is_worth_it():
    said = [{"level": "INFO", "message": "a"}, {"level": "ERROR", "message": "b"}]
    log = {"type": "log", "task": "t", "at": 0, "data": {"lines": said}}
    assert Lines().of(log) == ["a", "ERROR: b"]
