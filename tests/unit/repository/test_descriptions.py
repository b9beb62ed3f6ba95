"""The published descriptions are valid, and say of a server what it has."""

from __future__ import annotations

import json
import re
import sys
import time
from functools import cache
from inspect import getsource
from textwrap import dedent

import pytest
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for
from werkzeug.test import Client

from bridge import tokens
from bridge.protocol import frames as tables
from bridge.protocol.event import Event
from bridge.protocol.json_types import JobEvent, SnapshotData
from bridge.protocol.snapshot import Snapshot
from bridge.protocol.task_state import TaskState
from support import frames
from support.lone_server import SECRET, new_lone_server
from support.process import ROOT
from support.wire import flaws

sys.path.insert(0, str(ROOT))
from scripts.descriptions import asyncapi, openapi

SPECS = ROOT / "socket_server/web/node_modules/@asyncapi/specs/schemas"
#: Routes of Flask's own, and of the page.
NOT_DESCRIBED = {"/", "/static/<path:filename>"}


def test_the_description_of_events_is_asyncapi():
    if not SPECS.exists():
        pytest.skip("npm has not installed @asyncapi/specs: run `make web`")
    specification = json.loads((SPECS / "3.0.0.json").read_text())
    assert validator_for(specification) is Draft7Validator
    validator = Draft7Validator(specification)
    assert [error.message for error in validator.iter_errors(asyncapi())] == []
    assert not validator.is_valid({**asyncapi(), "operations": {"watch": {"action": "ask"}}})


def test_the_description_of_http_is_openapi():
    reason = "openapi-spec-validator is not installed: pip install -e '.[test]'"
    validator = pytest.importorskip("openapi_spec_validator", reason=reason)
    validator.validate(openapi())
    wrong = {**openapi(), "info": {}}
    assert list(validator.OpenAPIV31SpecValidator(wrong).iter_errors())


@pytest.mark.parametrize("description", [asyncapi, openapi])
def test_every_reference_leads_somewhere(description):
    whole = description()
    found = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(whole))
    assert found
    for reference in found:
        part = whole
        for name in reference.split("/"):
            part = part[name]


def test_every_route_of_a_server_is_described_and_no_other(client):
    rules = {rule.rule for rule in client.application.url_map.iter_rules()} - NOT_DESCRIBED
    assert {re.sub(r"<(\w+)>", r"{\1}", rule) for rule in rules} == openapi()["paths"].keys()


@pytest.fixture
def client():
    server = new_lone_server(url_tokens=True)
    told = {"type": "started", "at": time.time(), "run": 1, "seq": 0}
    server.manager.on_event(Event(job="j", task="j", name="n", owner="me", **told), 0)
    client = Client(server.wsgi)
    client.application = server.wsgi._app.__self__.wsgi_app
    return client


@pytest.mark.parametrize("path", openapi()["paths"])
def test_answers_over_http_are_what_the_description_says(client, path):
    token = tokens.sign([SECRET], owner="me", scope="watch")
    url = path.replace("{id}", "j") + ("?origin=https://evil.example" * ("origin" in path))
    for headers in ({"Authorization": f"Bearer {token}"}, {}):
        answer = client.get(url, headers=headers)
        described = openapi()["paths"][path]["get"]["responses"][str(answer.status_code)]
        [(kind, content)] = described["content"].items()
        assert answer.mimetype == kind
        if kind == "application/json":
            assert flaws(answer.json, content["schema"]["$ref"].rpartition("/")[2]) == []
        answer.close()


@cache
def frame():
    """Return the answer to a watch, which has a snapshot and an event."""
    server = new_lone_server()
    told = {"type": "started", "at": time.time(), "run": 1, "seq": 0}
    server.manager.on_event(Event(job="j", task="j", name="n", owner="me", **told), 0)
    view = server.journal.view("j")
    fields = {"ok": True, "recovered": True, "cursor": view.cursor, "events": view.events}
    return {**fields, "snapshot": server.journal.snapshot("j")}


#: All fields of an event and of a snapshot but those that this one does not have.
FIELDS = sorted(
    {*JobEvent.__annotations__, *SnapshotData.__annotations__}
    - {"result", "result_omitted", "totals"}
)


def renamed(value, field):
    return {f"{name}_" if name == field else name: one for name, one in value.items()}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_renamed_in_the_code_is_found_in_the_frames(field, monkeypatch):
    monkeypatch.setattr(frames, "FLAWS", found := [])
    whole = frame()
    frames.check("WatchAnswer", whole)
    assert found == []
    wrong = {
        **whole,
        "snapshot": renamed(whole["snapshot"], field),
        "events": [renamed(event, field) for event in whole["events"]],
    }
    frames.check("WatchAnswer", wrong)
    assert found


@pytest.mark.parametrize("text", ['["watch",{"jab":"j"}]', '["jobs",{"limit":"1"}]', '["look",{}]'])
def test_a_request_that_the_schema_does_not_have_is_found(text, monkeypatch):
    monkeypatch.setattr(frames, "FLAWS", found := [])
    frames.check_sent_text('42/jobs,1["watch",{"job":"j"}]')
    assert found == []
    frames.check_sent_text(f"42/jobs,1{text}")
    assert found


#: Functions that make parts of frames.
MAKERS = (Event.encode, Snapshot._fixed, TaskState.encode)
MUTANTS = {
    f"{one.__qualname__}: {name}": (one, name)
    for one in MAKERS
    for name in re.findall(r'"(\w+)":', getsource(one))
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_field_that_is_renamed_in_the_code_is_found_in_what_it_makes(mutant, monkeypatch):
    function, field = MUTANTS[mutant]
    text = dedent(getsource(function)).replace(f'"{field}":', f'"{field}_":')
    exec(text, function.__globals__, made := {})
    owner = function.__globals__[function.__qualname__.partition(".")[0]]
    monkeypatch.setattr(owner, function.__name__, made[function.__name__])
    monkeypatch.setattr(frames, "FLAWS", found := [])
    frames.check("WatchAnswer", frame.__wrapped__())
    assert found


def test_every_table_of_names_has_types_that_the_schema_has():
    kinds = [one for pair in tables.REQUESTS.values() for one in pair]
    kinds += [*tables.EVENTS.values(), *tables.STREAMED.values()]
    assert {kind.__name__ for kind in kinds} <= asyncapi()["components"]["schemas"].keys()
