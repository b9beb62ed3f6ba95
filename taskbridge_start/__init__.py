"""The start of the command and of the pytest plugin, under a name that no other project uses.

``bridge``, ``workers`` and ``socket_server`` are names that projects give to modules of their own,
which Python then finds instead. So this package finds out first, and imports ours inside functions.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

__all__ = ["hidden", "main"]

#: Folder of an installation or of a checkout, in which all packages of taskbridge are.
HOME = Path(__file__).resolve().parents[1]
#: Exit status of a wrong configuration, which is click's for wrong usage.
WRONG = 2


def main() -> None:
    """Run the ``taskbridge`` command; exit with 2 where another module hides it."""
    if told := hidden("bridge"):
        sys.stderr.write(f"taskbridge: {told}\n")
        sys.exit(WRONG)
    from bridge.cli import main as run

    run()


def hidden(*packages: str, folder: Path | None = None) -> str | None:
    """Return a sentence about what Python imports instead of a package, or None.

    Args:
        packages: names of packages of taskbridge.
        folder: working folder of a ``python -m`` that will import them; default this process.
    """
    for package in packages:
        found = _place(_spec(package, folder))
        if found and found.parent.resolve() != HOME:
            return f"{found} hides taskbridge's package {package}: rename it, or {_remedy(found)}"
    return None


def _spec(package: str, folder: Path | None) -> ModuleSpec | None:
    """Return what Python would import, or has imported."""
    if folder is None and package in sys.modules:
        return sys.modules[package].__spec__
    path = sys.path if folder is None else [str(folder), *sys.path]
    found = PathFinder.find_spec(package, path)
    # Finders of editable installations come after the path.
    finders = [finder for finder in sys.meta_path if finder is not PathFinder]
    specs = (found, *(finder.find_spec(package, None) for finder in finders))
    return next((spec for spec in specs if spec is not None), None)


def _place(spec: ModuleSpec | None) -> Path | None:
    """Return the file of a module, or the folder of a package."""
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    return next((Path(place) for place in places if place), None)


def _remedy(found: Path) -> str:
    if found.parent.resolve() == Path.cwd():
        return "start in another folder"
    return "take its folder off Python's path (PYTHONPATH)"
