"""The arrows between packages and folders: who may import what, at any time and for types too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("bridge", "workers", "socket_server", "taskbridge_start")

#: The packages that each package may never name in an import.
FORBIDDEN = {
    "bridge": {"workers", "socket_server"},
    "workers": {"socket_server", "taskbridge_start"},
    "socket_server": {"workers", "taskbridge_start"},
    "taskbridge_start": {"workers", "socket_server"},
}
#: The command line puts the parts together, so it reaches all three, but only when it needs them.
LAZY = ("bridge", "cli")
#: The module beside ``socket_server/concurrency/`` that imports eventlet: it makes locks of the
#: standard library the operating system's in a process that runs on eventlet.
LIBRARIES = ("eventlet", "gevent")
GREEN = ("bridge", "results", "system_locks.py")
#: Folders, and modules beside them, in layers: each imports its own layer's folder and those above.
LAYERS = {
    "bridge": [
        ["errors", "printable", "forking", "periodic_thread", "untyped"],
        ["identifiers", "home", "extras"],
        ["settings"],
        ["protocol", "tokens", "tracing", "held_messages"],
        ["bus", "results"],
        ["checkpoints"],
        ["repeating"],
        ["reporting"],
        ["sending"],
        ["capture", "cancelling"],
        ["instrumentation"],
        ["client"],
        ["durable"],
        ["application"],
        ["worker"],
        ["cli", "testing", "notebook"],
        ["__init__"],
    ],
    "socket_server": [
        ["web", "concurrency", "observability"],
        ["messages"],
        ["limits"],
        ["connection", "journal"],
        ["bus"],
        ["archive"],
        ["liveness", "estimates", "watching", "hosting"],
        ["http", "delivery", "draining"],
        ["app"],
        ["serving", "__main__"],
        ["wsgi"],
        ["__init__"],
    ],
    "workers": [
        ["complaints", "running"],
        ["files", "databases"],
        ["jobs"],
        ["app"],
        ["__init__"],
    ],
    "taskbridge_start": [["__init__"], ["__main__", "pytest_plugin"]],
}
#: Modules of a folder, and lines of a function, at most.
MODULES, LINES = 12, 50


def files_of(package: str) -> list[Path]:
    """Return the files of a package."""
    files = [one for one in (ROOT / package).rglob("*.py") if "node_modules" not in one.parts]
    assert files
    return files


def parts_of(file: Path) -> tuple[str, ...]:
    """Return a file's path below the root."""
    return file.relative_to(ROOT).parts


def module_of(parts: tuple[str, ...]) -> str:
    """Return the name of the module that is in a file."""
    return ".".join(parts).removesuffix(".py").removesuffix(".__init__")


def imports(tree: ast.AST, *, in_functions: bool = True) -> Iterator[tuple[int, str]]:
    """Yield line number and module of each absolute import of a syntax tree."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, in_functions=in_functions)


def wrong_imports(text: str, parts: tuple[str, ...]) -> list[str]:
    """Return what a file at ``parts`` imports against the arrows, as "path:line: module"."""
    tree = ast.parse(text)
    forbidden = FORBIDDEN[parts[0]]
    wrong = [
        *(one for one in imports(tree, in_functions=parts[:2] != LAZY) if top(one[1]) in forbidden),
        *(one for one in imports(tree) if top(one[1]) in LIBRARIES and not is_green(parts)),
        *(one for one in imports(tree) if not is_above(one[1], parts)),
    ]
    return [f"{'/'.join(parts)}:{line}: {module}" for line, module in wrong]


def is_green(parts: tuple[str, ...]) -> bool:
    """Whether a file may import eventlet and gevent."""
    return parts[:2] == ("socket_server", "concurrency") or parts == GREEN


def top(module: str) -> str:
    """Return the package that a module is in."""
    return module.partition(".")[0]


def is_above(module: str, parts: tuple[str, ...]) -> bool:
    """Whether a file may import a module by the layers of its package."""
    here, there = parts[1].removesuffix(".py"), [*module.split("."), ""][1]
    layers = LAYERS[parts[0]]
    order = {name: number for number, layer in enumerate(layers) for name in layer}
    if top(module) != parts[0] or there not in order or here == there:
        return True
    return order[there] < order[here] or (parts[-1] == "__init__.py" and len(parts) == 2)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_follows_the_arrows_and_eventlet_and_gevent_stay_in_their_folder(package):
    wrong = [
        line
        for file in files_of(package)
        for line in wrong_imports(file.read_text(), parts_of(file))
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_a_layer_a_docstring_and_at_most_twelve_modules(package):
    files = files_of(package)
    known = {name for layer in LAYERS[package] for name in layer}
    assert {parts_of(file)[1].removesuffix(".py") for file in files} == known
    for folder in {file.parent for file in files}:
        modules = [one for one in folder.glob("*.py") if not one.name.startswith("__")]
        assert len(modules) <= MODULES, folder
        assert len(ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "") > 20


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package):
    modules = {module_of(parts_of(file)): file for file in files_of(package)}
    imported = {
        name: {known(module, modules) for _, module in imports(ast.parse(file.read_text()))}
        - {name}
        for name, file in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in imported[name] - {package}:
                visit(other, (*path, name))
            done.add(name)

    for name in modules:
        visit(name, ())


def known(module: str, modules: dict[str, Path]) -> str:
    """Return the module of this package that an import names; the package itself for others."""
    names = [module, module.rpartition(".")[0]]
    return next((one for one in names if one in modules), top(next(iter(modules))))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has, without its docstring."""
    text = ast.get_docstring(function, clean=False) or ""
    return (function.end_lineno or 0) - function.lineno + 1 - (text.count("\n") + 1) * bool(text)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_longer_than_fifty_lines(package):
    long = [
        f"{'/'.join(parts_of(file))}:{node.lineno}: {node.name}"
        for file in files_of(package)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > LINES
    ]
    assert long == []


def test_a_wrong_import_is_found_wherever_it_hides():
    inside = "def f():\n    if True:\n        from workers.app import app\n"
    assert wrong_imports(inside, ("bridge", "home.py")) == ["bridge/home.py:3: workers.app.app"]
    assert wrong_imports(inside, ("bridge", "cli", "demo.py")) == []
    outside = "try:\n    import socket_server.app\nfinally:\n    pass\n"
    assert wrong_imports(outside, ("bridge", "cli", "demo.py"))
    assert wrong_imports(outside, ("workers", "app.py"))
    assert wrong_imports("import eventlet.green", ("socket_server", "app.py"))
    assert wrong_imports("from gevent import monkey", ("bridge", "forking.py"))
    assert wrong_imports("import gevent", ("socket_server", "concurrency", "hub.py")) == []
    assert wrong_imports("import eventlet", GREEN) == []
    types = "if TYPE_CHECKING:\n    from bridge.client.status import status\n"
    assert wrong_imports(types, ("bridge", "bus", "stream.py"))
    assert wrong_imports(types, ("bridge", "cli", "watch.py")) == []
