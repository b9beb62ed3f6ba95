"""Run tests with the lowest versions that pyproject.toml admits, or with the newest, without pins.

``python scripts/versions.py lowest`` makes an environment of its own in ``build/lowest``, with the
Python that runs this script, and runs the unit tests and some tests of whole jobs in it; further
arguments are pytest's, and name other tests. Needs the extra ``audit``, and the network.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: How uv chooses among the versions that are admitted. Of packages that only others need, both
#: take the newest: their lowest version is theirs to say.
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTS = [
    "tests/unit",
    *(
        f"tests/acceptance/test_{name}.py"
        for name in ("main_job", "cancelling", "canvases", "command_line", "frameworks", "tracing")
    ),
    *(f"tests/integration/test_{name}.py" for name in ("shared_database", "stream", "writer")),
]


def install(versions: str) -> Path:
    """Make the environment.

    Args:
        versions: a key of ``RESOLUTIONS``.

    Returns:
        The environment's Python.

    Raises:
        subprocess.CalledProcessError: uv has said what it could not install.
    """
    folder = ROOT / "build" / versions
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    made = [*uv, "venv", "--clear", "--seed", "--python", sys.executable, str(folder)]
    subprocess.run(made, check=True)
    installed = [*uv, "pip", "install", "--python", str(python), "-e", f"{ROOT}[lint]"]
    subprocess.run([*installed, f"--resolution={RESOLUTIONS[versions]}"], check=True)
    return python


def main() -> int:
    """Run the tests, and return their exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", choices=RESOLUTIONS)
    asked, arguments = parser.parse_known_args()
    try:
        python = install(asked.versions)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    named = [] if any(Path(ROOT, one.partition("::")[0]).exists() for one in arguments) else TESTS
    command = [str(python), "-m", "pytest", "-q", *named, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
