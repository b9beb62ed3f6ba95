"""Look for published vulnerabilities in what taskbridge is installed with.

Three lists are looked up: the pinned versions (``constraints.txt``), the lowest versions that
``pyproject.toml`` admits of each package that it names, and npm's lock file. Arguments go on to
pip-audit: ``python scripts/audit.py --ignore-vuln GHSA-…``. Needs the network and the extra
``audit``.

The exit status is 1 when anything was found, and also when anything could not be looked up.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from npm import ROOT, npm

__all__ = ["audit", "lowest", "main"]


def audit(pins: Path, *options: str) -> bool:
    """Look up each ``name==version`` line of a file; return whether all of them are clean.

    Without ``--strict`` a package that the service does not know counts as clean.
    """
    command = ["pip_audit", "--strict", "--no-deps", "--disable-pip", "--progress-spinner=off"]
    return _run(*command, "--requirement", str(pins), *options)


def lowest(pins: Path) -> bool:
    """Write the lowest admitted version of each named package, and the newest of all others."""
    command = ["uv", "pip", "compile", "--quiet", "--resolution=lowest-direct", "--all-extras"]
    python = ["--python", sys.executable]
    return _run(*command, *python, "--output-file", str(pins), str(ROOT / "pyproject.toml"))


def main(options: list[str]) -> int:
    """Print what was found, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        admitted = Path(folder) / "lowest.txt"
        checks = {
            "pinned versions": lambda: audit(ROOT / "constraints.txt", *options),
            "lowest versions": lambda: lowest(admitted) and audit(admitted, *options),
            "npm packages": _npm_packages,
        }
        failed = []
        for name, passes in checks.items():
            sys.stdout.write(f"== {name}\n")
            sys.stdout.flush()
            if not passes():
                failed.append(name)
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "no known vulnerabilities\n")
    return 1 if failed else 0


def _npm_packages() -> bool:
    done = npm("audit")
    sys.stdout.write(done.stdout)
    return done.returncode == 0


def _run(*command: str) -> bool:
    # What uv resolves to is shown only when it is vulnerable.
    quiet = subprocess.DEVNULL if command[0] == "uv" else None
    done = subprocess.run([sys.executable, "-m", *command], stdout=quiet, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
