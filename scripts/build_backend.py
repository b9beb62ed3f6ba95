"""setuptools' build backend; a Python that is too old gets one sentence at once.

Without it, pip on such a Python installs setuptools and builds the metadata before it reads there
which versions are admitted. What is required for the build is not required there, either.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("celery-taskbridge needs Python 3.11 or newer")

from setuptools.build_meta import *  # noqa: F403
