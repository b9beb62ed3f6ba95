"""Run the tests that depend on RabbitMQ on a newer release of it, in a root of its own.

``python scripts/rabbitmq4.py [--suite SUITE] [ARGUMENTS OF PYTEST]``; the suite of Debian is trixie
(RabbitMQ 4.0, the default) or a later one such as forky (4.3). It needs root, debootstrap (Debian's
package), and the network the first time: about a minute and 400 MB, in ``~/.cache/taskbridge``,
since setuptools reads all folders of the project for each build.

The folders that tests write to are mounted into that root, in a mount namespace that ends with the
tests; RabbitMQ's programs are started there by ``chroot``, and everything else on this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskbridge"
#: Programs that tests start, by their paths in the root.
PROGRAMS = {
    "epmd": "/usr/bin/epmd",
    "erl_call": "/usr/bin/erl_call",
    "rabbitmq-queues": "/usr/lib/rabbitmq/bin/rabbitmq-queues",
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "rabbitmqctl": "/usr/lib/rabbitmq/bin/rabbitmqctl",
}
#: Folders of tests that start RabbitMQ.
FOLDERS = ["tests/integration", "tests/acceptance", "tests/browser", "tests/chaos"]
#: Mounts each folder at the same path below the root, and runs the rest of the arguments.
MOUNT = """
root=$1; shift
while [ "$1" != -- ]; do mkdir -p "$root$1" && mount --bind "$1" "$root$1" || exit 1; shift; done
shift; exec "$@"
"""


def install(suite: str, folder: Path) -> None:
    """Install RabbitMQ and what it needs into a root, unless it is there.

    Args:
        suite: name of Debian's release.
        folder: the root.
    """
    if (folder / "installed").exists():
        return
    debootstrap = shutil.which("debootstrap", path="/usr/sbin:/usr/bin")
    if debootstrap is None:
        sys.exit("rabbitmq4: install Debian's package debootstrap")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # An older debootstrap knows no newer suite by name: all are installed as sid is.
    options = ["--variant=minbase", "--include=rabbitmq-server", suite, str(folder), "", "sid"]
    subprocess.run([debootstrap, *options], check=True)
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "installed").touch()


def wrap(folder: Path, programs: Path) -> None:
    """Write programs that start those of a root.

    Args:
        folder: the root.
        programs: folder for them.
    """
    programs.mkdir(exist_ok=True)
    for name, path in PROGRAMS.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec chroot "{folder}" {path} "$@"\n')
        program.chmod(0o755)


def main() -> int:
    """Install RabbitMQ if it is missing, and run the tests.

    Returns:
        Exit status: that of the tests, or 1 if RabbitMQ cannot be installed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="trixie", help="Debian's release; default trixie")
    options, arguments = parser.parse_known_args()
    if os.geteuid() != 0:
        sys.exit("rabbitmq4: run it as root, which may mount folders and change the root")
    folder = CACHE / f"rabbitmq-{options.suite}"
    programs = folder.with_name(f"{folder.name}-programs")
    install(options.suite, folder)
    wrap(folder, programs)
    mounted = ["/proc", "/dev", tempfile.gettempdir(), str(ROOT)]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh"]
    command += [str(folder), *mounted, "--", sys.executable, "-m", "pytest", "-k", "not embedded"]
    tests = [] if any(Path(one.partition("::")[0]).exists() for one in arguments) else FOLDERS
    environ = {**os.environ, "TEST_PROGRAMS": str(programs)}
    command += [*arguments, *tests]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
