"""``taskbridge worker --app``: any Celery application, with what a shipped worker has."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from support.process import ROOT, Process
from support.stack import Stack
from support.wait import until

#: An application that knows nothing of taskbridge, on the broker of its environment.
SHOP = """
import os
from celery import Celery

{name} = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_RESULTS"])

@{name}.task(name="shop.add", bind=True)
def add(self, one, two):
    return [one + two, self.acks_late]
"""
#: The same, installed, in a module that makes the application's socket server too.
INSTALLED = """
import bridge
from socket_server import create_app

bridge.install(app)
served = create_app(wsgi_app=lambda environ, start_response: [])
sio = served.server.sio
"""


@pytest.fixture(scope="module")
def place(rabbitmq, redis_server, tmp_path_factory):
    """A server, and the folder of a project that uses the same brokers."""
    url = rabbitmq.new_vhost()
    stack = Stack(
        tmp_path_factory.mktemp("own") / "stack", url, TASKBRIDGE_RESULT_URL=redis_server.url
    )
    stack.start_server()
    folder = stack.home.parent / "project"
    package = folder / "market"
    package.mkdir(parents=True)
    (folder / "shop.py").write_text(SHOP.format(name="app"))
    (folder / "installed.py").write_text(SHOP.format(name="app") + INSTALLED)
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(SHOP.format(name="queue"))
    (folder / "workers").mkdir()
    (folder / "workers" / "__init__.py").write_text("")
    yield stack, folder
    stack.stop()


def worker(place, *arguments):
    """Start a worker as a person does, who has set the broker of the application alone."""
    stack, folder = place
    settings = ("TASKBRIDGE_BROKER_URL", "TASKBRIDGE_RESULT_URL", "TASKBRIDGE_INCLUDE")
    env = {name: value for name, value in stack.env.items() if name not in settings}
    env |= {
        "PYTHONPATH": str(ROOT),
        "SHOP_BROKER": stack.settings.broker,
        "SHOP_RESULTS": stack.settings.results,
    }
    command = [sys.executable, "-P", "-m", "bridge.cli", "worker", *arguments]
    return Process(command, env=env, cwd=folder, name="worker")


def test_an_application_that_knows_nothing_of_taskbridge_is_watchable_and_durable(place):
    stack, _ = place
    with worker(place, "--concurrency", "1", "--app", "shop") as running:
        running.await_output(" ready.")
        assert re.search(r"taskbridge-[0-9a-f]{8}@", running.output)
        assert "INFO" in running.output
        job = stack.bridge.enqueue("shop.add", [1, 2], owner="ada")
        events = [event["type"] for event in stack.bridge.watch(job.id, timeout=20)]
        assert events[-1] == "succeeded"
        assert stack.bridge.status(job.id)["result"] == [3, True]
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "late"),
    [(["-A", "installed"], False), (["-Amarket"], True), (["--app=market.celery:queue"], True)],
)
def test_an_application_is_found_as_celery_finds_it_and_installed_once(place, arguments, late):
    stack, _ = place
    with worker(place, *arguments, "-c", "1", "-lWARNING") as running:
        job = stack.bridge.enqueue("shop.add", [1, 2], owner="ada")
        until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 30, "the job to end")
        assert stack.bridge.status(job.id)["result"] == [3, late]
        assert "Traceback" not in running.output


MODULES = {
    "broken.py": "import os\nimport nothing_here\n",
    "uses_broken.py": "\n\nimport broken\n",
    "wrong.py": "def f(:\n",
    "empty.py": "x = 1\n",
    "other.py": "app = 5\n",
    "attribute.py": "from celery import Celery\nCelery('x').nothing\n",
    "fails.py": "int('x')\n",
}
NOWHERE = "in {folder} or on Python's path: start in the folder of your Celery application, or "


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        ("nope", f"there is no module nope {NOWHERE}correct --app"),
        ("nope.celery:app", f"there is no module nope {NOWHERE}correct --app"),
        ("empty", "there is no Celery application in empty: name it as --app MODULE:NAME"),
        ("other", "there is no Celery application in other: name it as --app MODULE:NAME"),
        ("empty:app", "there is no Celery application in empty: name it as --app MODULE:NAME"),
        (
            "uses_broken",
            "uses_broken cannot be imported: ModuleNotFoundError: No module named 'nothing_here' "
            "({folder}/broken.py, line 2)",
        ),
        ("wrong", "wrong cannot be imported: SyntaxError: {any} ({folder}/wrong.py, line 1)"),
        (
            "attribute",
            "attribute cannot be imported: AttributeError: 'Celery' object has no attribute "
            "'nothing' ({folder}/attribute.py, line 2)",
        ),
        (
            "fails",
            "fails cannot be imported: ValueError: invalid literal for int() with base 10: 'x' "
            "({folder}/fails.py, line 1)",
        ),
    ],
)
def test_an_application_that_cannot_be_run_is_one_sentence(tmp_path, app, sentence):
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bridge.cli", "worker", "--app", app],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TASKBRIDGE_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    told = re.escape(f"taskbridge: {sentence.replace('{folder}', str(tmp_path))}\n")
    assert re.fullmatch(told.replace(re.escape("{any}"), ".+"), done.stderr), done.stderr
