"""Environments that have only what an installation of taskbridge with some extras brings.

An environment is a real one, made by ``venv``, whose ``site-packages`` has links to files of the
environment that runs the tests: those of the distributions that pip would install, and no others.
"""

from __future__ import annotations

import os
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.process import ROOT

__all__ = ["OWN", "PROJECT", "Installed", "brought_by"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The name of the distribution.
OWN = PROJECT["name"]
SCRIPT = "#!{python}\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n"


class Installed:
    """An environment of Python with taskbridge, which is the checkout, and what its extras bring.

    Args:
        folder: folder of the environment, which is made.
        extras: names of extras, separated by commas; none are the plain ``taskbridge``.
        others: requirements that the environment has beside.
    """

    def __init__(self, folder: Path, extras: str = "", *others: str) -> None:
        venv.create(folder, symlinks=True)
        self.python, self.command = folder / "bin" / "python", folder / "bin" / "taskbridge"
        [site] = folder.glob("lib/python*/site-packages")
        brought = {name for one in (f"{OWN}[{extras}]", *others) for name in brought_by(one)}
        for name in brought - {OWN}:
            _link(name, site)
        (site / "checkout.pth").write_text(str(ROOT))
        _write_metadata(site)
        module, _, name = PROJECT["scripts"]["taskbridge"].partition(":")
        self.command.write_text(SCRIPT.format(python=self.python, module=module, name=name))
        self.command.chmod(0o755)

    def environ(self, **variables: str) -> dict[str, str]:
        """Return the environment of processes that have no setting but these."""
        ours = ("TASKBRIDGE", "PYTHON", "SERVER_MODE")
        clean = {name: one for name, one in os.environ.items() if not name.startswith(ours)}
        return {**clean, **variables}


def _link(name: str, site: Path) -> None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return  # of another platform
    files = {str(file) for file in found.files or [] if ".." not in file.parts}
    for path in {_linked(Path(file), files) for file in files}:
        if path.suffix != ".pth" and path.name != "__pycache__":
            link = site / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(str(found.locate_file(path)))


def _linked(file: Path, files: set[str]) -> Path:
    """Return what of a file's path is linked: its folder, or itself in a namespace package."""
    top = Path(file.parts[0])
    return top if top.suffix or str(top / "__init__.py") in files else file


def _write_metadata(site: Path) -> None:
    metadata = site / f"{OWN.replace('-', '_')}-{PROJECT['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    )
    groups = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in groups.items()
        )
    )


def brought_by(text: str, seen: dict[str, set[str]] | None = None) -> set[str]:
    """Return the names of the distributions that an installation of a requirement brings.

    Args:
        text: the requirement, such as ``celery-taskbridge[redis]``.
        seen: names that are in the answer already, with their extras.
    """
    seen, one = {} if seen is None else seen, Requirement(text)
    name = canonicalize_name(one.name)
    if seen.setdefault(name, set()) >= {"", *one.extras}:
        return set(seen)
    seen[name] |= {"", *one.extras}
    for line in _required_by(name, one.extras):
        needed = Requirement(line)
        brought_by(f"{needed.name}[{','.join(needed.extras)}]", seen)
    return set(seen)


def _required_by(name: str, extras: set[str]) -> list[str]:
    """Return the requirements of a distribution with some of its extras."""
    if name == OWN:  # as it is declared now, and not when it was installed
        own = PROJECT["optional-dependencies"]
        return [*PROJECT["dependencies"], *(one for key in extras for one in own[key])]
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return []  # of another platform
    marks = [{"extra": extra} for extra in ("", *extras)]
    needed = [Requirement(line) for line in lines]
    return [str(one) for one in needed if not one.marker or any(map(one.marker.evaluate, marks))]
