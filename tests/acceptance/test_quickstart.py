"""The quickstart, followed word by word in an empty environment, from the wheel as released."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile

import pytest
from playwright.sync_api import expect

from support.documents import blocks
from support.installed import PROJECT
from support.process import ROOT, Process

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "-qq", "--outdir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    told = done.stdout[-3000:] + done.stderr[-3000:]
    assert (done.returncode, told) == (0, ""), told  # no warning of setuptools, either
    return folder


@pytest.fixture(scope="module")
def place(dist, tmp_path_factory):
    """An empty folder, and the environment of a person who has only Python.

    pip finds there the package index with the wheel in it.
    """
    folder, own = tmp_path_factory.mktemp("quickstart"), tmp_path_factory.mktemp("bin")
    (own / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    ours = ("TASKBRIDGE", "PYTHON", "VIRTUAL_ENV", "SERVER_MODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    constraints = own / "constraints.txt"
    pins = (ROOT / "constraints.txt").read_text()
    constraints.write_text(f"{pins}{PROJECT['name']}=={PROJECT['version']}\n")
    # Of two files of one version, pip takes the one in a folder.
    env["PIP_FIND_LINKS"] = f"{env.get('PIP_FIND_LINKS', '')} {dist}".strip()
    env |= {"PATH": f"{own}:{env['PATH']}", "PIP_CONSTRAINT": str(constraints)}
    return folder, env


def shell(place, text):
    """Run what a person types into a terminal, after the first step with its environment."""
    folder, env = place
    activate = "test -e .venv && . .venv/bin/activate\n"
    command = ["bash", "-c", f"{activate}set -e\n{text}"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_quickstart_works_as_it_is_written(place, page):
    install, shop, up, watch, token = [
        block for block in blocks("sh", "python") if block.document.name == "quickstart.md"
    ]
    folder, env = place
    shell(place, install.text)
    (folder / shop.title).write_text(shop.text)
    server = ["bash", "-c", f". .venv/bin/activate\nexec {up.text}"]
    with Process(server, folder / "up.log", env, cwd=folder) as running:
        running.await_output("token    taskbridge token")
        running.await_output(" ready.")
        url = re.search(r"page     (\S+)", running.output)[1]
        told = shell(place, watch.text)
        assert "500 orders are written" in told
        assert "succeeded" in told
        assert "succeeded" in shell(place, "taskbridge jobs --owner ada")
        page.goto(f"{url}#token={shell(place, token.text).strip()}")
        expect(page.locator("#connection")).to_have_text("Live")
        job = shell(place, "python shop.py").strip()
        card = page.locator(f'.job[data-job="{job}"]')
        expect(card.get_by_role("progressbar", name="orders")).to_be_visible()
        page.reload()
        card.get_by_role("button", name=re.compile("Cancel")).click()
        expect(card.get_by_text("cancelled", exact=True).first).to_be_visible()
    # The same wheel's own demonstration, in the same environment.
    (folder / "some").mkdir()
    for number in range(50):
        (folder / "some" / str(number)).write_bytes(bytes(1_000_000))
    assert "succeeded" in shell(place, "taskbridge demo --once --path some")


def test_the_source_archive_has_all_that_the_wheel_is_made_of_and_nothing_private(dist):
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert "socket_server/web/static/index.html" in names
    assert "taskbridge_start/pytest_plugin.py" in names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
    assert not [name for name in names if "secrets" in name or "node_modules" in name]
