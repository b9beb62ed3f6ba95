"""What `import bridge` costs a service, beside `import celery`, each in fresh processes."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

from report import Samples, compare, report

CELERY = "import celery"
USED = "from celery import Celery"
BRIDGE = "import bridge"
NAMES = "from bridge import Bridge, job, progress"

#: Measured inside the process, so that Python's own start is not part of it. `import celery` puts
#: all of its work off until a name is used; so does `import bridge`. Modules that Python or an
#: editable installation happens to load at its start are counted for neither side.
PROGRAM = """
import time
begun = time.perf_counter()
{statement}
print(time.perf_counter() - begun)
"""


def measure(statement: str) -> float:
    """Return milliseconds that a statement takes in a fresh process."""
    argv = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


def main() -> None:
    """Measure in rounds, each statement once a round in random order, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    statements = [CELERY, USED, BRIDGE, NAMES]
    for statement in statements:
        measure(statement)  # makes the byte code and warms the disk's cache
    samples: Samples = {statement: [] for statement in statements}
    for _ in range(options.rounds):
        for statement in random.sample(statements, len(statements)):
            samples[statement].append(measure(statement))
    ratios = [(BRIDGE, CELERY, 2.0), (NAMES, CELERY, None), (NAMES, USED, 2.0)]
    report([compare("import time", samples, ratios, unit="ms")], as_json=options.json)


if __name__ == "__main__":
    main()
