"""Dependencies are declared with both bounds, and pinned in the lock file alone."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.installed import OWN, brought_by
from support.process import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("bridge", "workers", "socket_server", "taskbridge_start")
#: Modules of the repository: the packages, and the script that builds the page; and what type
#: checkers alone import, from no package.
OURS = {*PACKAGES, "npm", "_typeshed"}


def declared():
    """Return all requirements but those of the project's own extras."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    lines += [line for extra in project["optional-dependencies"].values() for line in extra]
    own = canonicalize_name(project["name"])
    requirements = [Requirement(line) for line in lines]
    return [one for one in requirements if canonicalize_name(one.name) != own]


def pins():
    """Return the version of each package in the lock file."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_a_requirement_has_a_lower_bound_an_upper_bound_and_a_pin_between_them(requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators - {"!="} == {">=", "<"}
    # What builds the wheel is installed into an environment of its own.
    if requirement.name != "setuptools":
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", [one for one in declared() if one.extras], ids=str)
def test_an_extra_of_another_package_is_spelt_as_that_package_spells_it(requirement):
    # The pip that Python 3.11 brings knows no other spelling: it warns, and leaves the extra out.
    assert requirement.extras <= set(metadata(requirement.name).get_all("Provides-Extra"))


def test_a_package_has_the_same_bounds_wherever_it_is_named():
    bounds = {}
    for one in declared():
        bounds.setdefault(canonicalize_name(one.name), set()).add(one.specifier)
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_a_python_that_is_too_old_is_told_before_pip_installs_anything(monkeypatch):
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    older = int(least.partition(".")[2]) - 1
    needed = [Requirement(one) for one in PROJECT["build-system"]["requires"]]
    assert not any(one.marker.evaluate({"python_version": f"3.{older}"}) for one in needed)
    monkeypatch.setattr(sys, "version_info", (3, older, 13))
    with pytest.raises(SystemExit, match=f"needs Python {least} or newer"):
        runpy.run_path(str(ROOT / "scripts" / "build_backend.py"))


def test_every_package_that_the_code_imports_is_declared():
    names = {canonicalize_name(one.name) for one in declared()}
    owners = packages_distributions()
    missing = {
        module
        for module in imported()
        if not names & {canonicalize_name(name) for name in owners.get(module, [])}
    }
    assert missing == set()


@pytest.mark.parametrize("extra", ["redis", "all"])
def test_with_an_extra_alone_kombu_s_transport_of_redis_can_be_imported(extra):
    found = set(brought_by(f"{OWN}[{extra}]"))
    hidden = [
        module
        for module, owners in packages_distributions().items()
        if not found & {canonicalize_name(one) for one in owners}
    ]
    program = [sys.executable, "-c", TRANSPORT, *hidden]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


#: Imports kombu's transport of Redis as if modules that are named by arguments were not installed.
TRANSPORT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import kombu.transport.redis
assert kombu.transport.redis.redis
"""


def imported():
    """Return the top-level packages that are imported and are neither Python's nor our own."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = set()
    for file in files:
        if "node_modules" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    assert "celery" in found
    return found - set(sys.stdlib_module_names) - OURS


def test_npm_packages_are_pinned_in_the_lock_file_alone():
    package = json.loads((ROOT / "socket_server/web/package.json").read_text())
    needed = {**package["dependencies"], **package["devDependencies"]}
    assert [name for name, bound in needed.items() if not re.match(r"[\^~]", bound)] == []
