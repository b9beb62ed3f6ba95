"""The widget in JupyterLab, while the kernel is busy; only where ``jupyter-lab`` is on PATH."""

from __future__ import annotations

import json
import shutil

import pytest
from playwright.sync_api import expect

from support.ports import free_port

JUPYTER = shutil.which("jupyter-lab")
#: A cell that waits for the job which it shows.
CELL = """\
from IPython.display import display
from bridge import Bridge
from bridge.notebook import JobWidget
job = Bridge().enqueue("support.work", [5.0], owner="me")
display(JobWidget(job))
job.wait()
"""
OPTIONS = ("--no-browser", "--allow-root", "--IdentityProvider.token=", "--ServerApp.password=")


@pytest.mark.long
@pytest.mark.skipif(JUPYTER is None, reason="jupyter-lab is not on PATH: pip install jupyterlab")
def test_the_bars_of_a_job_move_in_jupyterlab_while_its_kernel_waits(page, rabbitmq, new_stack):
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    stack = new_stack(rabbitmq.new_vhost(), TASKBRIDGE_ORIGINS=origin)
    stack.start_server()
    stack.start_worker()
    cell = {"cell_type": "code", "source": CELL, "outputs": [], "metadata": {}}
    cell["execution_count"] = None
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": kernel, "cells": [cell]}
    (stack.home / "job.ipynb").write_text(json.dumps(notebook))
    place = (f"--port={port}", f"--notebook-dir={stack.home}")
    folders = {f"JUPYTER_{kind}_DIR": str(stack.home) for kind in ("CONFIG", "DATA", "RUNTIME")}
    lab = stack.start("jupyter", JUPYTER, *OPTIONS, *place, **folders)
    lab.await_output(f"{origin}/lab", timeout=60)
    page.goto(f"{origin}/lab/tree/job.ipynb")
    expect(page.get_by_text("| Idle")).to_be_visible()
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    element = page.locator("job-progress")
    bar = element.get_by_role("progressbar", name="work")
    expect(bar).to_be_visible()
    assert int(bar.get_attribute("aria-valuenow")) < 500
    expect(page.locator(".jp-InputPrompt").first).to_have_text("[*]:")
    expect(element.locator("[part=state]")).to_have_text("succeeded")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("done")
