"""The home folder and what is in it: keys, results and messages that no other user may read."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from bridge.errors import SettingsError

__all__ = ["make_home", "private_folder"]

logger = logging.getLogger(__name__)


def make_home(home: Path) -> Path:
    """Make the home folder if it is missing, and see to it that other users cannot enter it.

    A folder of this user that others can read, as version 0.1.0 could leave it, is closed to them.
    One that only its group can read is left as it is: that is no mode which a umask leaves behind.

    Returns:
        The folder.

    Raises:
        SettingsError: it cannot be made, or every user can write to it.
    """
    try:
        private_folder(home)
        found = home.stat()
        if found.st_mode & stat.S_IWOTH:
            raise SettingsError(
                f"TASKBRIDGE_HOME={home} can be written to by every user: name a folder of your own"
            )
        if found.st_mode & stat.S_IRWXO and found.st_uid == os.geteuid():
            home.chmod(0o700)
            logger.warning("taskbridge: %s was open to other users; it is closed to them now", home)
    except OSError as error:
        raise SettingsError(
            f"TASKBRIDGE_HOME={home} cannot be made: {error.strerror}; name a folder of your own"
        ) from None
    return home


def private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone."""
    # mkdir(parents=True) gives its mode to the last one alone.
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
