"""The adapters for React, Vue and Svelte, in a real browser on a real job."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.process import ROOT
from support.tools import need
from support.wait import until

WEB = ROOT / "socket_server" / "web"
#: Bundles the page of the adapters as a module of an application's own would be.
BUNDLE = """
import { build } from "vite";
const [entry, outDir] = process.argv.slice(1);
const lib = { entry, formats: ["es"], fileName: "frameworks" };
const define = { "process.env.NODE_ENV": JSON.stringify("production") };
const options = { configFile: false, publicDir: false, logLevel: "error" };
await build({ ...options, define, build: { lib, outDir } });
"""


@pytest.fixture
def bundle(tmp_path):
    """Return the path of the adapters' page as one script."""
    command = [need("node"), "--input-type=module", "-e", BUNDLE]
    entry = WEB / "tests" / "frameworks-page.tsx"
    subprocess.run([*command, entry, tmp_path / "built"], cwd=WEB, check=True, timeout=100)
    return tmp_path / "built" / "frameworks.js"


def test_each_framework_draws_a_job_from_its_begin_to_its_end(page, stacks, bundle):
    stack = stacks("rabbitmq")
    job = stack.bridge.enqueue("support.work", [3.0], owner="frameworks")
    page.route("**/frameworks.js", lambda route: route.fulfill(path=bundle))
    page.goto(f"{stack.url}/")
    page.evaluate(
        "async (given) => { window.page = await import('/frameworks.js'); page.show(...given); }",
        [job.token, job.id],
    )

    def drawn():
        return page.evaluate("window.page.drawn")

    def ended():
        return all(texts[-1].startswith("succeeded") for texts in drawn().values())

    until(ended, 60, "all of them to draw the end")
    for texts in drawn().values():
        assert texts[0] == "unknown"
        moves = [text for text in texts if text.startswith("running")]
        assert len(moves) > 3, json.dumps(texts)
        assert moves == sorted(moves, key=lambda text: int(text.split()[1]))
