"""Printable: no text of others makes a terminal, or a log, do anything but show it."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.printable import _SEQUENCES, MAX_CHARACTERS, MAX_MARKS, SafeFormatter, printable

#: Text, and what is left of it on one line.
SEQUENCES = {
    "colours": ("\x1b[1;31mred\x1b[0m", "red"),
    "colours with colons": ("\x1b[38:2::1:2:3mx", "x"),
    "colours of eight bits": ("\x9b31mred\x9bm", "red"),
    "cursor": ("a\x1b[2J\x1b[H\x1b[1Ab", "ab"),
    "private mode": ("\x1b[?1049h\x1b[?25lx", "x"),
    "with intermediates": ("\x1b[!p\x1b[1 qx", "x"),
    "clipboard": ("\x1b]52;c;cm0gLXJmIH4=\x07x", "x"),
    "clipboard, ended by ST": ("\x1b]52;c;cm0gLXJmIH4=\x1b\\x", "x"),
    "clipboard of eight bits": ("\x9d52;c;cm0gLXJmIH4=\x9cx", "x"),
    "clipboard of mixed bits": ("\x9d52;c;cm0=\x07x\x1b]52;c;cm0=\x9cy", "xy"),
    "title": ("\x1b]0;title\x07x", "x"),
    "link": ("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
    "device control": ("\x1bPq#0;2;0;0;0\x1b\\x", "x"),
    "device control of eight bits": ("\x90q#0\x9cx", "x"),
    "start of string": ("\x1bXhidden\x1b\\x\x98hidden\x9cy", "xy"),
    "privacy message": ("\x1b^hidden\x1b\\x\x9ehidden\x9cy", "xy"),
    "program command": ("\x1b_Ga=T\x1b\\x\x9fGa=T\x9cy", "xy"),
    "reset": ("\x1bcx\x1b7\x1b8\x1b=y", "xy"),
    "character set": ("\x1b(0x\x1b)B\x0e\x0fy", "xy"),
    "no end": ("\x1b]52;c;cm0=", "52;c;cm0="),
    "no end, CSI": ("x\x1b[", "x"),
    "escape at the end": ("x\x1b", "x"),
    "one in another": ("\x1b\x1b[0m]52;c;cm0=\x07", "]52;c;cm0="),
    "removed to make one": ("\x1b[\x1b[0m31mx", "31mx"),
    "split by a letter of no width": ("\x1b\u200b[31mx", "[31mx"),
    "bell, backspace, delete": ("a\x07\x08\x7fb\x00", "ab"),
    "line ends": ("a\nb\r\nc\rd\x85e\u2028f\u2029g\vh\fi\tj", "a b  c d e f g h i j"),
    "override": ("user\u202egnp.exe\u202c", "usergnp.exe"),
    "isolates": ("\u202a\u202b\u202d\u2066\u2067\u2068\u2069\u200e\u200f\u061cb", "b"),
    "no width": ("a\u200bb\u200c\u200d\u2060\ufeff\u00adc", "abc"),
    "tags": ("a\U000e0041\U000e007f\U000e0fffb", "ab"),
    "halves of pairs": ("a\ud800b\udfffc", "abc"),
    "markup": (
        "[bold red]x[/] [/nothing] [link=file:///]y",
        "[bold red]x[/] [/nothing] [link=file:///]y",
    ),
    "letters": ("Grüße, мир, 世界, 👍, e\u0301, ไทย", "Grüße, мир, 世界, 👍, e\u0301, ไทย"),
    "private use and spaces": ("\ue0b0\u00a0x\u3000", "\ue0b0\u00a0x\u3000"),
}


@pytest.mark.parametrize(("text", "left"), SEQUENCES.values(), ids=SEQUENCES)
def test_of_a_text_only_what_can_be_seen_is_left(text, left):
    assert printable(text) == left


def test_ends_of_lines_and_tabs_stay_where_lines_are_wanted():
    assert printable("a\r\n\tb\rc\n\x1b[2Jd\u2028e", lines=True) == "a\n\tb c\nd e"


def test_what_is_too_long_is_cut_and_says_so():
    assert printable("x" * 300, most=10) == "x" * 9 + "…"
    assert printable("x" * 10, most=10) == "x" * 10
    assert printable("\x1b[0m" * 100 + "x", most=10) == "…"
    assert len(printable("x" * 10**7)) == MAX_CHARACTERS
    assert printable("x" * 10**5, most=None) == "x" * 10**5


def test_a_letter_has_only_so_many_marks():
    flood = "a" + "\u0300" * 1000 + "b" + "\u20dd" * 1000
    assert printable(flood) == "a" + "\u0300" * MAX_MARKS + "b" + "\u20dd" * MAX_MARKS
    assert printable("a" + "\u0300\x1b[0m\u200b" * 1000).count("\u0300") == MAX_MARKS


#: Text of the characters of which sequences are made.
HOSTILE = st.text(
    st.one_of(
        st.sampled_from(
            "\x1b\x07\x9b\x9c\x9d\x90\x98\x9e\x9f[]()PX^_\\;:?01mhJ \n\r\t\u202e\u2066\u200b\u0300"
        ),
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Cs", "Mn", "Me", "Zl", "Zp"]),
    ),
    max_size=60,
)


@given(HOSTILE, st.booleans(), st.sampled_from([None, 1, 7, 30]))
@example("\x1b[", False, 1)
def test_nothing_that_is_left_controls_anything_and_it_stays_as_it_is(text, lines, most):
    safe = printable(text, lines=lines, most=most)
    seen = safe.replace("\n", "").replace("\t", "") if lines else safe
    assert not {unicodedata.category(one) for one in seen} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert most is None or len(safe) <= most
    assert printable(safe, lines=lines, most=most) == safe
    safe.encode()


BEGINNINGS = ["\x1b]", "\x9d", "\x9b1", "\x1b[", "\x9da", "\x1bP1;", "\x90\u0300"]


@pytest.mark.parametrize("unit", BEGINNINGS, ids=ascii)
def test_a_long_text_of_beginnings_is_looked_through_once(unit):
    # Looked through from each of them, it would take until the test's timeout.
    _SEQUENCES.sub("", unit * 1_000_000)


def record(message, *args, name="n", error=None):
    given = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.INFO, "f", 1, message, args, given)


def test_no_record_forges_another_or_an_escape():
    formatter = SafeFormatter(logging.Formatter("%(levelname)s %(message)s"))
    hostile = "x\nERROR root: forged\r\nERROR \x1b]52;c;cm0=\x07\x9b2J\u202eend"
    try:
        raise ValueError(hostile)
    except ValueError as error:
        text = formatter.format(record("owner %s", hostile, error=error))
    first, *more = text.split("\n")
    assert first == "INFO owner x"
    assert "Traceback" in text
    assert all(line.startswith("    ") for line in more)
    assert printable(text, lines=True, most=None) == text


def test_a_formatter_that_comes_later_finds_the_record_as_it_was():
    made = record("owner %s", "\x1b[0m")
    SafeFormatter(logging.Formatter()).format(made)
    assert (made.msg, made.args) == ("owner %s", ("\x1b[0m",))


def test_what_a_task_prints_on_its_own_worker_is_its_own_business():
    formatter = SafeFormatter(logging.Formatter("%(message)s"))
    green = "\x1b[32mgreen\x1b[0m"
    assert formatter.format(record(green, name="celery.redirected")) == green
