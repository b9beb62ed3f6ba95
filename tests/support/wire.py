"""Compares what is sent with the JSON Schema of the protocol."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

from jsonschema import Draft202012Validator

from support.process import ROOT

__all__ = ["event_flaws", "flaws", "schema"]

#: Types of what the data of an event may have, alone or in a list, by the field.
DATA = {
    "bars": "BarData",
    "steps": "StepData",
    "lines": "LogLine",
    "error": "JobFailure",
    "eta": "Expectation",
}


@functools.cache
def schema() -> Any:
    """Return the schema, as the script prints it for the documentation and the TypeScript."""
    command = [sys.executable, str(ROOT / "scripts" / "protocol_schema.py")]
    return json.loads(subprocess.check_output(command, timeout=60))


def flaws(value: Any, name: str) -> list[str]:
    """Return how a JSON value differs from the type of that name; a field too many is a flaw."""
    return [f"{name}{one.json_path[1:]}: {one.message}" for one in _of(name).iter_errors(value)]


def event_flaws(event: Any) -> list[str]:
    """Return the same of an event, and of what its data has."""
    if found := flaws(event, "JobEvent"):
        return found
    for field, name in DATA.items():
        value = event["data"].get(field)
        values = value if isinstance(value, list) else [value]
        found += [flaw for one in values if one is not None for flaw in flaws(one, name)]
    return found


@functools.cache
def _of(name: str) -> Draft202012Validator:
    # The schema admits more fields, for later servers; this server may not send others unnoticed.
    closed = {
        key: {"additionalProperties": False, **part} if "properties" in part else part
        for key, part in schema()["$defs"].items()
    }
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": closed})
