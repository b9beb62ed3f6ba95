"""Run the tests of RabbitMQ's node on the release of Debian trixie (4.0), in a root of its own.

It needs root, debootstrap (Debian's package) and the network the first time: about half a minute
and 400 MB, in ``build/rabbitmq4``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "rabbitmq4"
TESTS = [
    "test_definitions.py",
    "test_confirmed_tasks.py",
    "test_dropped_tasks.py",
    "test_stream.py",
    "test_writer.py",
]


def main() -> int:
    """Install RabbitMQ if it is missing, and run the tests.

    Returns:
        Exit status: that of the tests, or 1 if RabbitMQ cannot be installed.
    """
    if not (FOLDER / "installed").exists():
        debootstrap = shutil.which("debootstrap", path="/usr/sbin:/usr/bin")
        if debootstrap is None or os.geteuid() != 0:
            sys.stderr.write("rabbitmq4: run it as root, with Debian's package debootstrap\n")
            return 1
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.parent.mkdir(exist_ok=True)
        options = ["--variant=minbase", "--include=rabbitmq-server", "trixie", str(FOLDER)]
        subprocess.run([debootstrap, *options], check=True)
        (FOLDER / "installed").touch()
    (FOLDER / "tests").mkdir(exist_ok=True)
    tests = [f"tests/integration/{name}" for name in TESTS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "",
        f"--basetemp={FOLDER / 'tests'}",
        *tests,
    ]
    environ = {**os.environ, "TEST_RABBITMQ_ROOT": str(FOLDER)}
    return subprocess.run([*command, *sys.argv[1:]], cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
