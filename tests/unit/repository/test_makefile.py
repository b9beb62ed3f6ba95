"""``make PYTHON=…`` runs with that Python, whatever the environment was made with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.process import ROOT
from support.tools import need


@pytest.mark.parametrize(
    ("made_with", "named", "stays"),
    [
        ("3, 9", [], True),
        ("3, 9", [f"PYTHON={sys.executable}"], False),
        (f"3, {sys.version_info.minor}", [f"PYTHON={sys.executable}"], True),
        ("3, 9", ["PYTHON=no-such-python"], True),
    ],
)
def test_an_environment_is_made_anew_for_a_named_python_of_another_version(
    tmp_path, made_with, named, stays
):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho '({made_with})'\n")
    python.chmod(0o755)
    command = [need("make"), "--dry-run", f"VENV={tmp_path}", *named, "help"]
    # Without what a `make test` that runs this test has named, which is in MAKEFLAGS.
    env = {"PATH": os.environ["PATH"]}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=60)
    assert python.exists() is stays
