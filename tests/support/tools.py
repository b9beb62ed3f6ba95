"""Programs that the tests need and Python's registry does not have."""

from __future__ import annotations

import os
import shutil

import pytest

#: Folder of programs that tests use in place of this machine's, if any.
PREFERRED = os.environ.get("TEST_PROGRAMS", "")
#: Where Debian puts what an ordinary user's PATH leaves out. The first is RabbitMQ's own script:
#: Debian's wrapper of the same name in /usr/sbin runs it as another user by ``su``.
FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/sbin")

ADVICE = (
    "install Debian's packages rabbitmq-server, redis-server and chromium-headless-shell, or run "
    "`make test`"
)


def find(program: str) -> str | None:
    """Return the path of a program, or None."""
    folders = [*filter(None, [PREFERRED]), *FOLDERS, os.environ.get("PATH", "")]
    return shutil.which(program, path=os.pathsep.join(folders))


def need(program: str) -> str:
    """Return the path of a program; without it, skip the test, or fail it where CI is "true"."""
    if path := find(program):
        return path
    sentence = f"{program} is not installed: {ADVICE}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
