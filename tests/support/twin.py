"""Runs the TypeScript twins of Python modules on stories, with node."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _load_npm():
    spec = importlib.util.spec_from_file_location("npm", ROOT / "scripts" / "npm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.npm


#: Runs npm in the web folder; see ``scripts/npm.py``.
npm = _load_npm()


def answers(name, stories, folder):
    """Return the answers of a module in ``socket_server/web/tests/twins``, one for each story.

    Args:
        name: name of the module.
        stories: values that can be written as JSON.
        folder: a temporary folder.
    """
    asked, told = folder / "stories.json", folder / "answers.json"
    asked.write_text(json.dumps(stories))
    done = npm("run", "--silent", "twin", "--", name, str(asked), str(told))
    assert done.returncode == 0, done.stdout
    return json.loads(told.read_text())


def differences(found, wanted, path=""):
    """Return the places at which two JSON values differ, with both values, as texts."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = sorted({*found, *wanted})
        pairs = [(f"{path}.{one}", found.get(one, "-"), wanted.get(one, "-")) for one in names]
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = [
            (f"{path}[{number}]", *both)
            for number, both in enumerate(zip(found, wanted, strict=True))
        ]
    else:
        return [] if found == wanted else [f"{path}: TypeScript {found!r}, Python {wanted!r}"]
    return [text for place, one, other in pairs for text in differences(one, other, place)]


def assert_alike(found, wanted, stories):
    """Fail with the first story of which the twins make different things."""
    for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
        told = differences(one, other)
        assert not told, f"story {number}: {told[:12]}\n{json.dumps(stories[number])[:20_000]}"


def look(snapshot):
    """Return all that a snapshot says, in the form of the TypeScript twin's answer."""
    said = dict(snapshot.encode())
    del said["planned"], said["spawned"]
    said["disturbed"] = said.get("disturbed")
    for name in ("title", "saved", "again_of"):
        said[name] = said.get(name)
    said["result_omitted"] = bool(said.get("result_omitted"))
    hidden, without = ("seq", "tick"), {"steps": [], "steps_omitted": 0}
    said["tasks"] = [
        {name: value for name, value in (without | task).items() if name not in hidden}
        for task in said["tasks"]
    ]
    return said
