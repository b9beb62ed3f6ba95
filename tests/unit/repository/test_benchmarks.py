"""What the benchmarks reach into is there."""

from __future__ import annotations

import os
import sys

from support.process import ROOT, finished

APPLIED = "import runpy; runpy.run_path('benchmarks/without.py', run_name='tested')"
SWITCHES = "journal tokens limits stream"


def test_what_the_measured_server_goes_without_is_still_there_to_replace():
    done = finished([sys.executable, "-c", APPLIED], ROOT, {**os.environ, "WITHOUT": SWITCHES})
    assert done.returncode == 0, done.stderr
