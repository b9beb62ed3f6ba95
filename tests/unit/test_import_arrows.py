"""workers -> bridge <- socket_server, and eventlet where it is served and where it is sped up."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bridge", "workers", "socket_server")

#: The packages that each package may never name in an import.
FORBIDDEN = {
    "bridge": {"workers", "socket_server"},
    "workers": {"socket_server"},
    "socket_server": {"workers"},
}
#: The command line puts the parts together, so it reaches all three, but only when it needs them.
LAZY = ("bridge", "cli")
EVENTLET = (("socket_server", "__main__.py"), ("socket_server", "connection", "flusher.py"))


def imports(tree, *, in_functions=True):
    """Yield line number and top-level package of each absolute import of a syntax tree."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, (node.module or "").partition(".")[0]
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, in_functions=in_functions)


def wrong_imports(text, parts):
    """Return what a file at ``parts`` imports against the arrows, as "path:line: package"."""
    tree = ast.parse(text)
    forbidden = FORBIDDEN[parts[0]]
    wrong = [
        *((n, p) for n, p in imports(tree, in_functions=parts[:2] != LAZY) if p in forbidden),
        *((n, p) for n, p in imports(tree) if p == "eventlet" and parts not in EVENTLET),
    ]
    return [f"{'/'.join(parts)}:{line}: {package}" for line, package in wrong]


def test_every_import_follows_the_arrows_and_eventlet_stays_in_two_modules():
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > len(PACKAGES)
    wrong = [
        line
        for file in files
        if "node_modules" not in file.parts
        for line in wrong_imports(file.read_text(), file.relative_to(ROOT).parts)
    ]
    assert wrong == []


def test_a_wrong_import_is_found_wherever_it_hides():
    inside = "def f():\n    if True:\n        from workers.app import app\n"
    assert wrong_imports(inside, ("bridge", "home.py")) == ["bridge/home.py:3: workers"]
    assert wrong_imports(inside, ("bridge", "cli", "demo.py")) == []
    outside = "try:\n    import socket_server.app\nfinally:\n    pass\n"
    assert wrong_imports(outside, ("bridge", "cli", "demo.py"))
    assert wrong_imports(outside, ("workers", "app.py"))
    assert wrong_imports("import eventlet.green", ("socket_server", "app.py"))
    assert [wrong_imports("import eventlet", one) for one in EVENTLET] == [[], []]
