"""Install the servers and the browser that the tests run for real, from Debian's packages.

Nothing is done where they are there. Their own services are not started: the tests start nodes
of their own, on ports of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Debian package, and the program by which it is known to be there.
PACKAGES = {
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "chromium-headless-shell": "chromium-headless-shell",
    "openssl": "openssl",
    "haproxy": "haproxy",
    "postgresql": "pg_ctlcluster",
    "prometheus": "promtool",
    "prometheus-alertmanager": "amtool",
    "docker-compose": "docker-compose",
}
#: An ordinary user's PATH leaves out where Debian puts a server's program.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/rabbitmq/bin"])

#: Asked by Debian's packages before they start a service; exit status 101 is a no.
POLICY = Path("/usr/sbin/policy-rc.d")
SAVED = POLICY.with_name("policy-rc.d.before-taskbridge")
REFUSAL = "#!/bin/sh\n# Put here by taskbridge's tests while they install packages.\nexit 101\n"


def main() -> None:
    """Install what is missing, or say in one sentence what to install."""
    missing = [package for package, program in PACKAGES.items() if not _is_there(program)]
    if not missing:
        return
    if not _is_there("apt-get") or not (os.geteuid() == 0 or _may_become_root()):
        sys.exit(f"taskbridge: the tests need {_and(missing)}: install Debian's packages so named")
    if os.geteuid() != 0:
        sys.exit(subprocess.run(["sudo", "-n", sys.executable, *sys.argv], check=False).returncode)
    _install(missing)


def _is_there(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


def _may_become_root() -> bool:
    if not _is_there("sudo"):
        return False
    command = ["sudo", "-n", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _install(packages: list[str]) -> None:
    sys.stdout.write(f"taskbridge: installing {_and(packages)} from Debian's packages\n")
    sys.stdout.flush()
    _apt("update")
    with _no_service_starts():
        _apt("install", "--yes", "--no-install-recommends", *packages)


def _apt(*arguments: str) -> None:
    # Somebody else's apt is waited for.
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": PATH + ":/sbin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}taskbridge: `{' '.join(command)}` failed; its own words are above")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    # One that is found here was left by a run that was killed; POLICY is then that run's.
    if not SAVED.exists() and POLICY.exists():
        POLICY.rename(SAVED)
    POLICY.write_text(REFUSAL)
    POLICY.chmod(0o755)
    # Ended by a signal, Python would leave without a finally.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if SAVED.exists():
            SAVED.rename(POLICY)


if __name__ == "__main__":
    main()
