"""Make the JSON Schema of the protocol from the types in ``bridge/protocol``.

``python scripts/protocol_schema.py`` prints it; with the path of a file, writes it there. The
documentation publishes it, and the page's client is compiled against TypeScript made from it.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, is_typeddict

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bridge.protocol import http_types, json_types, request_types  # noqa: E402

try:
    import msgspec
except ImportError:
    sys.exit("taskbridge: this Python has no msgspec: `make web` installs it into .venv")

__all__ = ["as_json", "schema"]

MODULES = (json_types, request_types, http_types)
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ABOUT = "Any JSON value of taskbridge's protocol; `$defs` has each by its name."

#: A JSON Schema, or a part of one.
Schema = dict[str, Any]


def as_json() -> str:
    """Return the schema as JSON, with a newline at its end."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """Return the JSON Schema, draft 2020-12, of all public types of ``MODULES``.

    The schema is open: an object may have more fields, as later servers send them.
    """
    types = {name: getattr(one, name) for one in MODULES for name in one.__all__}
    objects = {name: kind for name, kind in types.items() if is_typeddict(kind)}
    enums = {name: list(get_args(kind)) for name, kind in types.items() if _is_enum(kind)}
    _, found = msgspec.json.schema_components(objects.values(), ref_template="#/$defs/{name}")
    parts = {name: {"title": name, "enum": values} for name, values in enums.items()}
    parts |= {name: _object(found[name], kind, enums) for name, kind in objects.items()}
    _describe(parts)
    every = [{"$ref": f"#/$defs/{name}"} for name in parts]
    about = {"$schema": DIALECT, "title": "Protocol", "description": ABOUT}
    return {**about, "anyOf": every, "$defs": parts}


def _is_enum(kind: object) -> bool:
    """Whether a type is a ``Literal`` of strings."""
    values = get_args(kind)
    return bool(values) and all(isinstance(one, str) for one in values)


def _object(part: Schema, kind: type, enums: dict[str, list[str]]) -> Schema:
    """Return msgspec's schema of a ``TypedDict`` with its fields in the order of the source."""
    fields = {name: _named(part["properties"][name], enums) for name in kind.__annotations__}
    required = [name for name in fields if name in part.get("required", ())]
    return {"title": part["title"], "type": "object", "properties": fields, "required": required}


def _named(part: Any, enums: dict[str, list[str]]) -> Any:
    """Return a part of a schema with references to ``Literal`` types: msgspec repeats them."""
    if isinstance(part, list):
        return [_named(one, enums) for one in part]
    if not isinstance(part, dict):
        return part
    for name, values in enums.items():
        if sorted(values) == sorted(map(str, part.get("enum", []))):
            return {"$ref": f"#/$defs/{name}"}
    if part == {"type": "object"}:
        # Otherwise json-schema-to-typescript makes it an object without fields.
        return {"type": "object", "additionalProperties": True}
    return {name: _named(one, enums) for name, one in part.items()}


def _describe(parts: dict[str, Schema]) -> None:
    """Add the docstrings and ``#:`` comments of the source to the schemas of the types."""
    for name, field, text in (one for module in MODULES for one in _descriptions(module)):
        if name not in parts:
            continue
        if not field:
            parts[name] = {"title": name, "description": text, **parts[name]}
            continue
        fields = parts[name]["properties"]
        # json-schema-to-typescript makes a second type of a `$ref` with a description beside it.
        kind = {"allOf": [fields[field]]} if "$ref" in fields[field] else fields[field]
        fields[field] = {"description": text, **kind}


def _descriptions(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each type that has a description, "" or the name of a field, and the text.

    A class has a docstring, any other type a comment above or a string below, a field a comment.
    """
    source = inspect.getsource(module)
    lines, body = source.splitlines(), ast.parse(source).body
    for node, following in pairwise([*body, None]):
        if isinstance(node, ast.ClassDef):
            yield node.name, "", _joined(ast.get_docstring(node) or "")
            yield from _fields(node, lines)
        elif isinstance(node, ast.Assign):
            text = _comment(lines, node.lineno) or _string(following)
            yield ast.unparse(node.targets[0]), "", text


def _fields(node: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, str, str]]:
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and (text := _comment(lines, field.lineno)):
            yield node.name, ast.unparse(field.target), text


def _comment(lines: list[str], number: int) -> str:
    """Return the ``#:`` comment above a line; the first line has the number 1."""
    above = reversed(lines[: number - 1])
    comment = [line.strip()[3:] for line in takewhile(lambda one: "#: " in one[:7], above)]
    return _joined(" ".join(reversed(comment)))


def _string(node: ast.stmt | None) -> str:
    """Return the text of a statement that is a string; "" for another."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return _joined(str(node.value.value))
    return ""


def _joined(text: str) -> str:
    """Return a text on one line, with the quotes of Markdown around code."""
    return " ".join(text.split()).replace("``", "`")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(as_json())
    else:
        sys.stdout.write(as_json())
