"""``python -m taskbridge_start``: the ``taskbridge`` command where it is not on the path."""

from taskbridge_start import main

main()
