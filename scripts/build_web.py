"""Build the page, its client and the element with npm; never committed, so made when needed."""

from __future__ import annotations

import sys

from npm import npm

#: Exactly what package-lock.json names, and no code of a package is run to install it.
INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
BUILD = ["run", "build", "--loglevel=error"]


def main() -> None:
    """Install the locked packages and build what the server serves."""
    sys.stdout.write("taskbridge: building the page\n")
    sys.stdout.flush()
    for command in (INSTALL, BUILD):
        done = npm(*command)
        if done.returncode:
            shown = " ".join(["npm", *command])
            sys.exit(f"{done.stdout}taskbridge: `{shown}` failed; its own words are above")


if __name__ == "__main__":
    main()
