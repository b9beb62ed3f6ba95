"""Run Celery's own integration tests of canvases, with each canvas that they apply made a job.

The tests come with the source distribution of the installed version of Celery, which is fetched
from the package index into a temporary folder. They run against a RabbitMQ node, a Redis and a
socket server that this script starts, and a worker of their own: once with each canvas applied
inside ``with bridge.owner(…)``, once through ``Bridge.enqueue``. Arguments go on to pytest:
``python scripts/canvas.py -k chord``.

The exit status is 1 when a test failed that is not in ``EXPECTED``, and also when a call became
more than one job, or a job did not end as Celery's result did.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.rabbitmq import RabbitMQ  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.stack import Stack  # noqa: E402

__all__ = ["fetch", "main", "run"]

MODES = ("owner", "enqueue")
#: Tests that are left out where a canvas is enqueued, and why.
EXPECTED = {
    f"t/integration/test_canvas.py::{name}": "the root id is the job's id, not the first task's"
    for name in (
        "test_chain::test_parent_ids",
        "test_group::test_parent_ids",
        "test_chord::test_parent_ids",
        "test_chord::test_parent_ids__OR",
        "test_chord::test_parent_ids__plain_task_body",
    )
}


def fetch(folder: Path) -> Path:
    """Fetch Celery's source distribution into a folder; return the one that has its tests."""
    wanted = f"celery=={version('celery')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", "celery"]
    subprocess.run([*pip, "--no-deps", "--dest", folder, wanted], check=True)
    [archive] = folder.glob("celery-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    # Alone: beside them, the unpacked `celery` would be imported instead of the installed one.
    [tests] = folder.glob("celery-*/t")
    return tests.rename(folder / "t").parent


def run(mode: str, tests: Path, folder: Path, arguments: list[str]) -> bool:
    """Run the tests in one way; return whether all of them, and all jobs, ended as they should.

    Args:
        mode: one of ``MODES``.
        tests: folder that has Celery's tests.
        folder: an empty one, for what the servers write.
        arguments: of pytest.
    """
    for name in ("rabbitmq", "redis", "home"):
        (folder / name).mkdir(parents=True)
    node, redis = RabbitMQ(folder / "rabbitmq").start(), Redis(folder / "redis")
    stack = Stack(folder / "home", node.url, TASKBRIDGE_RESULT_URL=redis.url)
    try:
        redis.start()
        stack.start_server()
        environ = {
            **stack.env,
            "PYTHONPATH": f"{tests}:{ROOT / 'tests'}:{ROOT}",
            "TEST_BROKER": node.url,
            "TEST_BACKEND": redis.url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "CANVAS_MODE": mode,
            "CANVAS_REPORT": str(folder / "report.json"),
        }
        left_out = EXPECTED if mode == "enqueue" else {}
        argv = [*_pytest(tests, left_out), *arguments]
        passed = subprocess.run(argv, cwd=tests, env=environ, check=False).returncode == 0
    finally:
        stack.stop()
        redis.stop()
        node.kill()
    return _judged(mode, json.loads((folder / "report.json").read_text())) and passed


def _pytest(tests: Path, left_out: dict[str, str]) -> list[str]:
    options = ["-q", "--rootdir", str(tests), "--tb", "short", "-W", "ignore"]
    options += ["-o", "python_classes=test_*", "-p", "no:cacheprovider"]
    options += ["-p", "celery.contrib.pytest", "-p", "support.canvas_plugin"]
    options += [part for name in left_out for part in ("--deselect", name)]
    return [sys.executable, "-m", "pytest", "t/integration/test_canvas.py", *options]


def _judged(mode: str, calls: list[dict[str, Any]]) -> bool:
    wrong = [call for call in calls if call["wrong"]]
    for call in wrong:
        _say(json.dumps(call))
    counts = Counter(call["state"] or "nothing published" for call in calls)
    _say(f"{mode}: {len(calls)} calls, {len(wrong)} wrong; {dict(counts)}")
    return bool(calls) and not wrong


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Run them in each way that is asked for, default both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", action="append", choices=MODES)
    asked, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="taskbridge-canvas-") as name:
        folder = Path(name)
        tests = fetch(folder)
        right = [run(mode, tests, folder / mode, arguments) for mode in asked.mode or MODES]
    sys.exit(not all(right))


if __name__ == "__main__":
    main()
