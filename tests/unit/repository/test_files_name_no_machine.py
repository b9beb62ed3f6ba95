"""What is committed works on any machine and tells nothing about one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

WRONG = {
    "a registry's address": re.compile(r"https?://[\w.-]*(npmjs|pypi|pythonhosted|debian)\."),
    "a registry option": re.compile(r"--(extra-)?index-url|--find-links"),
    "a person's folder": re.compile(r"(?<![\w.}])/(root|home|Users)/\w"),
    "a private key": re.compile(r"BEGIN [A-Z ]*PRIVATE KEY"),
}
#: Ours is celery-taskbridge; its command, settings and image are called taskbridge.
OTHERS_DISTRIBUTION = re.compile(
    r"""(?<![\w.-])taskbridge\[[a-z]"""
    r"""|pip install [^|#`\n]*(?<![\w.-])taskbridge(?=[\s"'`=><\[-]|$)"""
    r"""|(?:version|distribution|metadata|requires|package_name)[(=]["']taskbridge["']"""
)


def files():
    """Return the files that are in git or would be added by ``git add``."""
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # A checkout that belongs to another user is git's worry, not this test's.
    git = [git, "-c", f"safe.directory={ROOT}"]
    options = ["-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output([*git, "ls-files", *options], cwd=ROOT, text=True)
    return [ROOT / name for name in listed.split("\0") if name]


def lines():
    """Yield each line of each file, with the file and the line's number; not those of this file."""
    for file in files():
        if file.is_file() and file != Path(__file__).resolve():
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
                yield file.relative_to(ROOT), number, line


def test_no_file_names_a_machine_a_registry_or_a_secret():
    found = [
        f"{file}:{number}: {what}"
        for file, number, line in lines()
        for what, pattern in WRONG.items()
        if pattern.search(line)
    ]
    assert found == []


def test_no_file_says_to_install_or_looks_up_the_distribution_of_another_project():
    found = [
        f"{file}:{number}"
        for file, number, line in lines()
        if OTHERS_DISTRIBUTION.search(line) and file.name != "CHANGELOG.md"  # what once was
    ]
    assert found == []
