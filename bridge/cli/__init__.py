"""Entry point of the ``taskbridge`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    try:
        from bridge.cli.commands import cli
    except ImportError as error:
        sys.exit(f"taskbridge: {error.name} is missing: pip install taskbridge[cli]")
    cli()
