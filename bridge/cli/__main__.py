"""``python -m bridge.cli``: the ``taskbridge`` command where it is not on the path."""

from bridge.cli import main

main()
