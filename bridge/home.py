"""Creates the home folder, whose keys, results and messages no other user may read."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from bridge.errors import SettingsError

__all__ = ["make_home", "private_folder"]

logger = logging.getLogger(__name__)


def make_home(home: Path) -> Path:
    """Create the home folder if it is missing, and make sure that other users cannot enter it.

    A folder of this user that every user can access, as version 0.1.0 could leave it, gets the
    mode 0700. One that only its group can access is left as it is.

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
    """Create a folder and its missing parents with the mode 0700."""
    # mkdir(parents=True) applies its mode only to the last folder.
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
