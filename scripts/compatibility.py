"""Run tests with workers, then with a server, then with services and clients of version 0.1.0."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: The commit of version 0.1.0.
RELEASE = "c02dfc3"
#: Files of tests that a part of version 0.1.0 passes, by the variable that has its folder.
TESTS = {
    "OLD_WORKERS": [
        "tests/acceptance/test_clocks.py",
        "tests/integration/test_job_tasks.py",
        "tests/integration/test_archive.py",
    ],
    "OLD_SERVER": ["tests/acceptance/test_clocks.py"],
    "OLD_CLIENT": [
        "tests/acceptance/test_other_versions.py",
        "tests/browser/test_client_recovery.py",
    ],
}


def main() -> None:
    """Exit with 1 if a test fails in one of the directions, with 2 if there is no such commit."""
    with tempfile.TemporaryDirectory() as folder:
        _unpack(folder)
        subprocess.run([sys.executable, "scripts/build_web.py"], cwd=folder, check=True)
        results = [_run(side, folder) for side in TESTS]
    sys.exit(any(results))


def _unpack(folder: str) -> None:
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", RELEASE]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        sys.stderr.write(
            f"taskbridge: there is no commit {RELEASE} here: fetch the whole history "
            "(`git fetch --unshallow`)\n"
        )
        sys.exit(2)
    subprocess.run(["tar", "x", "-C", folder], input=done.stdout, check=True)


def _run(side: str, folder: str) -> int:
    sys.stdout.write(f"== {side}: {RELEASE}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", "-q", *TESTS[side], *sys.argv[1:]]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, side: folder}, check=False
    ).returncode


if __name__ == "__main__":
    main()
