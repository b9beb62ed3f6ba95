"""Run Celery's own integration tests of canvases, with each canvas made a job.

The tests come with the source distribution of the installed version of Celery, which is fetched
from the package index into a temporary folder. They run against a RabbitMQ node, a Redis and a
socket server that this script starts, and a worker that they start themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.rabbitmq import RabbitMQ  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.stack import Stack  # noqa: E402

MODES = ("plain", "owner", "enqueue")


def fetch(folder: Path) -> Path:
    """Fetch Celery's source distribution, unpack its tests into a folder, and return that."""
    wanted = f"celery=={version('celery')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", "celery"]
    subprocess.run([*pip, "--no-deps", "--dest", folder, wanted], check=True)
    [archive] = folder.glob("celery-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    # Alone: beside them, the unpacked `celery` would be imported instead of the installed one.
    [tests] = folder.glob("celery-*/t")
    return tests.rename(folder / "t").parent


def run(mode: str, tests: Path, folder: Path, arguments: list[str]) -> tuple[int, Path]:
    home = folder / mode
    home.mkdir()
    (home / "rabbitmq").mkdir()
    (home / "redis").mkdir()
    node, redis = RabbitMQ(home / "rabbitmq"), Redis(home / "redis")
    report = home / "report.json"
    node.start()
    redis.start()
    stack = Stack(home / "home", node.url, TASKBRIDGE_RESULT_URL=redis.url)
    stack.home.mkdir(parents=True, exist_ok=True)
    try:
        stack.start_server()
        environ = {
            **stack.env,
            "PYTHONPATH": f"{tests}:{ROOT / 'tests'}:{ROOT}",
            "TEST_BROKER": node.url,
            "TEST_BACKEND": redis.url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "CANVAS_MODE": mode,
            "CANVAS_REPORT": str(report),
        }
        command = [sys.executable, "-m", "pytest", "t/integration/test_canvas.py"]
        options = ["-q", "-p", "no:cacheprovider", "-p", "celery.contrib.pytest", "-p", "support.canvas_plugin", "-W", "ignore"]
        options += ["--rootdir", str(tests), "-o", "python_classes=test_*", "--tb", "short", *arguments]
        done = subprocess.run([*command, *options], cwd=tests, env=environ, check=False)
    finally:
        stack.stop()
        redis.stop()
        node.kill()
    return done.returncode, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", action="append", choices=MODES)
    asked, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="canvas-") as name:
        folder = Path(name)
        tests = fetch(folder)
        for mode in asked.mode or MODES[1:]:
            code, report = run(mode, tests, folder, arguments)
            calls = json.loads(report.read_text()) if report.exists() else []
            print(f"== {mode}: exit status {code}, {len(calls)} calls")
            for call in calls:
                if call["wrong"]:
                    print(json.dumps(call))
            print(Counter(call["wrong"] or "right" for call in calls))


if __name__ == "__main__":
    main()
