"""The page's log-tail.ts makes the lines of a job's log and output that the command line makes.

The command line's are those of bridge/cli/lines.py, as bridge/cli/console.py shows them on a
terminal. Output arrives in chunks that are cut anywhere: within a character, within an escape
sequence, between the two characters of a line end.

Not shared: the page keeps 4,096 characters of a line, shows the beginning of a line at once, in its
place among the lines of other tasks, and knows three levels of log lines. The command line shows
10,000 characters, shows a line when it is complete, names all levels, shows a tab as four spaces,
and removes the characters that join others (U+200C, U+200D). A half of a surrogate pair is a
question mark there, and nothing on the page. Lines about the job itself are the command line's own.
"""

from __future__ import annotations

import base64
import random

from bridge.cli.console import shown
from bridge.cli.lines import Lines
from bridge.client.novelty import Novelty
from bridge.printable import printable
from bridge.protocol.event import Event
from support.server_events import event
from support.twin import answers, assert_alike

#: Maximum characters of a line on the page, as UTF-16 counts them.
MOST = 4096
#: Levels that the page shows as others.
ON_PAGE = {"CRITICAL": "ERROR", "DEBUG": "INFO", "NOTICE": "INFO"}
TEXTS = (
    *("a", "word ", "é", "世", "👍", "e\u0301", "\ue0b0", "\u00a0", "\t", "10%\r", "20%\r", "\r"),
    *("\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;x\x1b\\", "\x9b1m", "\x1bc"),
    *("\x1b[", "\x1b]0;no end", "\x1b", "\x07", "\x00", "\x7f", "\x9d", "\x9c", "m", ";", "\\"),
    *("\u202e", "\u200b", "\ufeff", "\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\u00ad"),
    *("\U000e0041", "\U000e0fff", "\U000e0100", "a" + "\u0300" * 12),
)
INVALID = (b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x91", b"\xed\xa0\x80", b"\xc0\xaf", b"\x9b")
ENDS = (b"\n", b"\n", b"\r\n", b"\r\r\n", b"\n\n")
LONG = (b"x" * 3000, "é👍".encode() * 900, b"\x1b[1m" * 700, b"55%\r" * 2000, b"y" * 5000)


def written(chance):
    """Return what a task writes, as bytes."""
    kinds = [TEXTS] * 40 + [ENDS] * 8 + [INVALID] * 4 + [LONG]
    parts = [chance.choice(chance.choice(kinds)) for _ in range(chance.randint(1, 60))]
    said = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    # The last line ends, or at least its last character does.
    return said + chance.choice([b"\n", b"end"])


def chunks(chance, said):
    """Return bytes in chunks, as events carry them, cut anywhere."""
    count = chance.randint(0, min(12, len(said)))
    cuts = sorted(chance.randrange(len(said) + 1) for _ in range(count))
    for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
        part = said[start:end]
        try:
            text = part.decode()
        except UnicodeDecodeError:
            text = None
        as_text = text is not None and chance.random() < 0.7
        yield text if as_text else {"base64": base64.b64encode(part).decode()}


def events_of(chance, task):
    """Return the events of a task, in order; some come twice."""
    left, made = list(chunks(chance, written(chance))), []
    while left:
        count = chance.randint(1, 3)
        made.append(("output", {"chunks": left[:count]}))
        left = left[count:]
        if chance.random() < 0.3:
            levels = ["INFO", "WARNING", "ERROR", *ON_PAGE]
            message = "".join(chance.choices((*TEXTS, "\n", "\r\n"), k=chance.randint(0, 9)))
            line = {"at": 1.5, "level": chance.choice(levels), "message": message}
            made.append(("log", {"lines": [line, {"message": "no level"}]}))
    found = [event(task, kind, 1.0, data, (1, seq, 0)) for seq, (kind, data) in enumerate(made)]
    return [one for one in found for _ in range(1 + (chance.random() < 0.05))]


def on_page(text):
    """Return as much of a line as the page shows."""
    return text.encode("utf-16-le")[: 2 * MOST].decode("utf-16-le", errors="ignore")


def said_by_command_line(events):
    """Return the lines that the command line shows, in the form of the TypeScript twin's answer."""
    lines, novelty, output, log = Lines(), Novelty(), [], []
    news = [novelty.take(Event.decode(one)) for one in events]
    for one in [one for one, new in zip(events, news, strict=True) if new]:
        if one["type"] == "output":
            output += lines.of(one)
        else:
            log += zip(one["data"]["lines"], lines.of(one), strict=True)
    told = [on_page(shown(line)) for line in [*output, *lines.rest()]]
    return {"news": news, "output": told, "log": [logged(*one) for one in log]}


def logged(line, said):
    """Return a log line of the command line as the page shows it."""
    level = line.get("level", "INFO")
    text = said if level == "INFO" else said.removeprefix(f"{level}: ")
    return [line.get("at"), ON_PAGE.get(level, level), on_page(printable(text, lines=True))]


def as_on_terminal(answer):
    """Return a TypeScript twin's answer with the tabs of output as on a terminal."""
    output = [on_page(text.replace("\t", "    ")) for text in answer["output"]]
    return {**answer, "output": output}


def test_the_page_and_the_command_line_show_the_same_lines(tmp_path):
    chance = random.Random(22)
    stories = [[one.encode() for one in events_of(chance, "job")] for _ in range(400)]
    wanted = [said_by_command_line(events) for events in stories]
    found = map(as_on_terminal, answers("lines", stories, tmp_path))
    assert_alike(found, wanted, stories)


def test_the_lines_of_tasks_that_write_at_once_are_the_same_in_both(tmp_path):
    chance, stories = random.Random(23), []
    for _ in range(100):
        left = [events_of(chance, task) for task in ("job", "b", "c")]
        story = []
        while left := [one for one in left if one]:
            story.append(chance.choice(left).pop(0).encode())
        stories.append(story)
    wanted = [said_by_command_line(events) for events in stories]
    found = list(map(as_on_terminal, answers("lines", stories, tmp_path)))
    for told in (*found, *wanted):
        told["output"].sort()
    assert_alike(found, wanted, stories)
