"""What each process of ``taskbridge up`` finds in its environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bridge import Settings
from bridge.cli import stack
from bridge.cli.commands import cli
from bridge.cli.stack import variables_of

KEY = {"TASKBRIDGE_SECRET": "k" * 40}
FILES = ("TASKBRIDGE_SECRET_FILE", "TASKBRIDGE_RESULT_URL_FILE")


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """The environment of who starts them."""
    variables = {**KEY, "TASKBRIDGE_HOME": str(tmp_path), "TASKBRIDGE_RESULT_URL": "redis://r"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def started():
    settings = stack._with_archive(Settings.from_environ())
    found = stack._processes(settings, "workers.app", 2, [8000, 8001], 5555)
    return {name: variables for name, _, variables in found}


def test_servers_have_the_key_and_workers_and_flower_have_not(environ):
    holders = {name for name, variables in started().items() if "TASKBRIDGE_SECRET" in variables}
    assert holders == {"server.1", "server.2"}


def test_servers_and_workers_have_the_results_and_flower_has_not(environ):
    urls = {
        name: variables["TASKBRIDGE_RESULT_URL"]
        for name, variables in started().items()
        if name != "archive"
    }
    assert urls.pop("flower") == "disabled://"
    assert "TASKBRIDGE_RESULT_URL" not in started()["archive"]
    assert set(urls.values()) == {"redis://r"}


def test_what_is_in_files_is_named_to_those_alone_who_need_it(environ, tmp_path):
    for name in FILES:
        environ.delenv(name.removesuffix("_FILE"))
        (tmp_path / name).write_text("redis://" + "x" * 40)
        environ.setenv(name, str(tmp_path / name))
    found = started()
    holders = {name: {one for one in FILES if one in found[name]} for name in found}
    assert holders["server.1"] == set(FILES)
    assert holders["worker.1"] == {"TASKBRIDGE_RESULT_URL_FILE"}
    assert holders["flower"] == holders["archive"] == set()


def test_servers_and_the_archive_have_a_database_in_the_home_where_none_is_named(environ, tmp_path):
    environ.setenv("TASKBRIDGE_ARCHIVE_URL", "")
    found = started()
    urls = {found[name]["TASKBRIDGE_ARCHIVE_URL"] for name in ("server.1", "server.2", "archive")}
    assert urls == {f"sqlite:///{tmp_path}/archive.sqlite"}


@pytest.mark.parametrize("command", ["worker", "flower", "archive"])
def test_a_worker_and_flower_on_their_own_have_no_key_either(environ, command):
    executed = []
    environ.setattr(stack.os, "execve", lambda *given: executed.append(given))
    cli([command], standalone_mode=False)
    [(_, _, variables)] = executed
    assert "TASKBRIDGE_SECRET" not in variables
    assert variables["TASKBRIDGE_HOME"]


def test_the_shipped_worker_reads_no_key_whatever_its_environment_has(tmp_path):
    program = "from workers.app import _settings; assert _settings.secret == ()"
    for key in (KEY, {"TASKBRIDGE_SECRET_FILE": str(tmp_path / "missing")}):
        env = {"TASKBRIDGE_HOME": str(tmp_path), "PATH": "", **key}
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


APPLICATION = """
from celery import Celery
print("imported")
app = Celery("shop", broker="redis://u:p@h/1", backend="db+sqlite:///results.sqlite")
"""


def test_the_stack_uses_the_broker_of_its_application_where_no_setting_names_one(
    tmp_path, monkeypatch
):
    for name in [name for name in os.environ if name.startswith("TASKBRIDGE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "shop.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    results = {"TASKBRIDGE_RESULT_URL": "db+sqlite:///results.sqlite"}
    assert variables_of("shop") == {"TASKBRIDGE_BROKER_URL": "redis://u:p@h/1", **results}
    monkeypatch.setenv("TASKBRIDGE_BROKER_URL", "amqp://set")
    assert variables_of("shop") == results
    assert variables_of("no_such_module") == {}
