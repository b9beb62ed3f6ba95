"""Run tqdm's own tests with taskbridge's capture of bars, outside and inside of a job.

The tests come with the source distribution of the installed version of tqdm, which is fetched from
the package index into a temporary folder. They run three times: without taskbridge, with its
capture outside of a job, and each test inside of a job. The exit status is 1 when a test fails
outside that passes without, or fails inside that is not in ``LEFT_OUT``: tests of what a bar draws,
which inside of a job is shown by clients. ``--record`` writes those that fail inside now.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ROOT / "tests" / "support" / "recorded" / "tqdm-in-a-job.txt"
MODES = ("without", "outside", "inside")
#: Without those of speed, which a machine that does other things fails.
OPTIONS = ["-q", "-p", "no:cacheprovider", "-o", "python_files=tests_*.py", "-W", "ignore"]
OPTIONS += ["-c", os.devnull, "--rootdir=.", "--ignore=tests/tests_perf.py", "--tb=no"]


def fetch(folder: Path) -> Path:
    """Fetch tqdm's source distribution into a folder; return a folder with its tests alone."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", "tqdm", "--no-deps"]
    subprocess.run([*pip, "--dest", folder, f"tqdm=={version('tqdm')}"], check=True)
    [archive] = folder.glob("tqdm-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    # Alone: beside them, the unpacked `tqdm` would be imported instead of the installed one.
    [tests] = folder.glob("tqdm-*/tests")
    (folder / "alone").mkdir()
    return tests.rename(folder / "alone" / "tests").parent


def failed(mode: str, folder: Path) -> set[str]:
    """Run the tests in one way, and return the names of those that failed.

    Args:
        mode: one of ``MODES``.
        folder: folder that has the tests.
    """
    report = folder / f"{mode}.xml"
    plugin = [] if mode == "without" else ["-p", "support.tqdm_plugin"]
    command = [sys.executable, "-m", "pytest", *OPTIONS, *plugin, f"--junitxml={report}", "tests"]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TQDM_MODE": mode}
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)
    cases = list(ElementTree.parse(report).iter("testcase"))
    if done.returncode not in (0, 1) or len(cases) < 100:
        sys.exit(f"{done.stdout}tqdm_tests: tqdm's tests did not run")
    bad = set(_bad(cases))
    sys.stdout.write(f"{mode}: {len(cases) - len(bad)} of {len(cases)} pass\n")
    return bad


def _bad(cases: list[ElementTree.Element]) -> Iterator[str]:
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            yield f"{case.get('classname')}::{case.get('name')}".encode("unicode_escape").decode()


def main() -> int:
    """Run them in each way, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="taskbridge-tqdm-") as name:
        tests = fetch(Path(name))
        without, outside, inside = (failed(mode, tests) for mode in MODES)
    if "--record" in sys.argv:
        LEFT_OUT.write_text("".join(f"{one}\n" for one in sorted(inside - without)))
        return 0
    wrong = [f"outside of a job: {one}" for one in sorted(outside - without)]
    left_out = set(LEFT_OUT.read_text().splitlines())
    wrong += [f"inside of a job: {one}" for one in sorted(inside - without - left_out)]
    sys.stdout.write("".join(f"failed {one}\n" for one in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
