"""npm packages of Node's server, installed when a benchmark first needs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["Missing", "need", "packages"]

#: Ignored by git.
FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks-node"
VERSIONS = {"socket.io": "4.8.4", "@socket.io/redis-adapter": "8.3.0", "ioredis": "5.9.3"}
#: Debian puts servers where an ordinary user's PATH does not lead.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")


class Missing(Exception):
    """Something that a column needs is not there; the message says what."""


def need(program: str) -> str:
    """Return the path of a program.

    Raises:
        Missing: it is not installed.
    """
    if path := shutil.which(program, path=PATH):
        return path
    raise Missing(f"{program} is not installed")


def packages() -> Path:
    """Return a folder that has the packages in ``node_modules``, installed there with npm.

    Raises:
        Missing: node or npm is not installed, or npm failed.
    """
    need("node")
    npm, wanted = need("npm"), json.dumps({"private": True, "dependencies": VERSIONS})
    listed, done = FOLDER / "package.json", FOLDER / "node_modules" / ".package-lock.json"
    if done.exists() and listed.exists() and listed.read_text() == wanted:
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    listed.write_text(wanted)
    ran = subprocess.run(
        [npm, "install", *OPTIONS], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        listed.unlink()
        raise Missing(f"npm could not install its packages: {ran.stderr.strip()[-300:]}")
    return FOLDER
