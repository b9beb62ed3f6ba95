"""What an installation of taskbridge puts beside its packages, made from ``pyproject.toml``."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from support.process import ROOT

__all__ = ["Installed"]

SCRIPT = "#!{python}\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n"


class Installed:
    """A command and the metadata of a distribution, for processes that import the checkout.

    Args:
        folder: folder of both.
        packages: folder in which taskbridge's packages are; default the checkout.
    """

    def __init__(self, folder: Path, packages: Path = ROOT) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        metadata = folder / f"taskbridge-{project['version']}.dist-info"
        metadata.mkdir(parents=True)
        name, version = f"Name: {project['name']}", f"Version: {project['version']}"
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\n{name}\n{version}\n")
        groups = {"console_scripts": project["scripts"], **project["entry-points"]}
        (metadata / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
                for group, points in groups.items()
            )
        )
        #: The command ``taskbridge``, as an argument of Python.
        self.command = folder / "bin" / "taskbridge"
        self.command.parent.mkdir()
        module, _, name = project["scripts"]["taskbridge"].partition(":")
        self.command.write_text(SCRIPT.format(python="", module=module, name=name))
        self._path = os.pathsep.join([str(folder), str(packages)])

    def environ(self, **variables: str) -> dict[str, str]:
        """Return the environment of processes that find the packages and the metadata."""
        clean = {name: one for name, one in os.environ.items() if "TASKBRIDGE" not in name}
        return {**clean, "PYTHONPATH": self._path, **variables}
