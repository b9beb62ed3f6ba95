"""Entry point of the ``taskbridge`` command."""

from __future__ import annotations

import sys

from bridge.extras import missing

__all__ = ["main"]


def main() -> None:
    """Run the command line. Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    if told := missing("cli"):
        sys.stderr.write(f"taskbridge: {told}\n")
        sys.exit(2)
    from bridge.cli.commands import cli

    cli()
