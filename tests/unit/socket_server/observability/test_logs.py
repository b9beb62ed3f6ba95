"""Logs about clients: a line each, never two, and not more than a bound."""

from __future__ import annotations

import json
import logging

import pytest

from bridge.printable import printable
from socket_server.observability import logs
from socket_server.observability.logs import MAX_LINES, JsonFormatter, TextFormatter, tell
from support.clock import Clock


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(logs.time, "monotonic", clock)
    monkeypatch.setattr(logs, "_second", logs.Second())
    return clock


def records(caplog):
    return [record for record in caplog.records if record.name == logs.logger.name]


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.INFO, logger=logs.logger.name)


@pytest.mark.usefixtures("clock")
def test_a_line_for_people_ends_with_its_fields_and_cannot_be_made_two(caplog):
    tell("watch", job="j", owner="me\nroot: all is well", missing=None)
    text = TextFormatter("%(levelname)s %(message)s").format(records(caplog)[0])
    assert text == 'INFO watch job="j" owner="me\\nroot: all is well"'


@pytest.mark.usefixtures("clock")
def test_nothing_that_a_client_chose_is_obeyed_by_a_terminal_or_looks_like_another_line(caplog):
    hostile = "x\n2026 INFO forged\x1b]52;c;cm0=\x07\x9b2J\u202e\x7f"
    tell("watch", owner=hostile, address=hostile)
    logs.logger.warning("it said %s", hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        logs.logger.exception("failed: %s", hostile)
    text = "\n".join(TextFormatter(logs.TEXT).format(record) for record in records(caplog))
    assert printable(text, lines=True, most=None) == text
    margin = [line for line in text.split("\n") if not line.startswith("    ")]
    assert len(margin) == 3
    assert all("forged" not in line.partition(" watch ")[0] for line in margin)


@pytest.mark.usefixtures("clock")
def test_a_line_for_machines_is_one_json_object(caplog):
    tell("refuse", code="forbidden", owner="me")
    line = JsonFormatter().format(records(caplog)[0])
    assert "\n" not in line
    said = json.loads(line)
    assert (said["message"], said["code"], said["owner"]) == ("refuse", "forbidden", "me")
    assert said["level"] == "INFO"


def test_an_exception_goes_into_its_object():
    try:
        raise ValueError("no")
    except ValueError as error:
        given = (type(error), error, error.__traceback__)
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "failed: %s", ("x",), given)
    said = json.loads(JsonFormatter().format(record))
    assert said["message"] == "failed: x"
    assert "ValueError: no" in said["exception"]


def test_a_flood_leaves_so_many_lines_and_one_that_says_how_many_more_there_were(caplog, clock):
    for _ in range(MAX_LINES + 50):
        tell("connect")
    assert len(records(caplog)) == MAX_LINES
    clock.tick(1.1)
    tell("connect")
    assert records(caplog)[-2].getMessage() == "50 lines about clients were left out"
