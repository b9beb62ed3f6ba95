"""A project has a module or package of the name of one of ours."""

from __future__ import annotations

import pytest

from support.installed import Installed
from support.process import finished

CONFIGURATION = 2


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The command and the pytest plugin, as they are installed."""
    return Installed(tmp_path_factory.mktemp("installed") / "environment", "all", "pytest")


@pytest.fixture
def project(tmp_path):
    """An empty folder of a project."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def hide(project, name):
    """Make a module or a package of a name that is one of our packages'."""
    file = project / name
    if not name.endswith(".py"):
        file.mkdir()
        (file / "app.py").write_text("raise SystemExit('the wrong application')")
        file = file / "__init__.py"
    file.write_text("")


def run(installed, project, *arguments, **variables):
    env = installed.environ(TASKBRIDGE_HOME=str(project / "home"), **variables)
    return finished([installed.python, *arguments], project, env)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("serve", "bridge.py"),
        ("serve", "socket_server"),
        ("worker", "workers"),
        ("worker", "bridge"),
        ("worker --app shop", "bridge.py"),
        ("up --no-flower", "workers.py"),
        ("up --app shop", "bridge.py"),
        ("flower", "workers"),
        ("demo --once", "socket_server.py"),
    ],
)
def test_a_command_that_would_start_another_module_names_it(installed, project, command, name):
    hide(project, name)
    done = run(installed, project, installed.command, *command.split())
    assert done.returncode == CONFIGURATION, done.stdout + done.stderr
    hidden = name.removesuffix(".py")
    assert done.stderr.splitlines()[-1] == (
        f"Error: {project / name} hides taskbridge's package {hidden}: rename it, or start in "
        "another folder"
    )
    assert "Traceback" not in done.stderr


def test_a_command_works_where_it_needs_none_of_what_is_hidden(installed, project):
    for name in ("workers", "bridge.py"):
        hide(project, name)
    assert run(installed, project, installed.command, "settings").returncode == 0
    told = run(installed, project, installed.command, "enqueue", "n", TASKBRIDGE_BROKER_URL="x:")
    assert "TASKBRIDGE_BROKER_URL" in told.stderr


def test_a_module_on_the_path_that_hides_the_command_s_own_is_named(installed, project):
    hide(project, "bridge.py")
    path = {"PYTHONPATH": str(project)}
    done = run(installed, project.parent, installed.command, "settings", **path)
    assert done.returncode == CONFIGURATION
    assert done.stderr == (
        f"taskbridge: {project / 'bridge.py'} hides taskbridge's package bridge: rename it, or "
        "take its folder off Python's path (PYTHONPATH)\n"
    )


OWN_TEST = """
import bridge

def test_own():
    assert bridge.OWN == 1

def test_of_taskbridge(reported):
    pass
"""


@pytest.mark.parametrize("runner", [("-m", "pytest"), ("-P", "-m", "pytest")])
def test_a_project_with_a_bridge_of_its_own_runs_its_tests(installed, project, runner):
    (project / "bridge.py").write_text("OWN = 1")
    (project / "test_own.py").write_text(OWN_TEST)
    done = run(installed, project, *runner)
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert f"{project / 'bridge.py'} hides taskbridge's package bridge" in done.stdout
    assert "Traceback" not in done.stdout
    assert "warning" not in done.stdout


def test_the_plugin_imports_nothing_of_taskbridge_until_a_fixture_is_asked_for(installed, project):
    (project / "test_own.py").write_text(
        "import sys\n"
        "def test_light():\n    assert not {'bridge', 'celery', 'kombu'} & sys.modules.keys()\n"
        "def test_used(reported, memory_bridge):\n    assert 'bridge' in sys.modules\n"
    )
    done = run(installed, project, "-m", "pytest")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
