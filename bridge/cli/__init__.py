"""The ``taskbridge`` command: the composition root, and the only thing that reaches all parts."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        from bridge.cli.commands import cli
    except ImportError as error:
        sys.exit(f"taskbridge: {error.name} is missing: pip install taskbridge[cli]")
    cli()
