"""The npm package, packed and taken into a project that has nothing else of this repository."""

from __future__ import annotations

import json
import subprocess
import tarfile

import pytest

from support.installed import PROJECT
from support.process import ROOT
from support.tools import need
from support.twin import npm

WEB = ROOT / "socket_server" / "web"
#: What the package needs, what React's hook needs, and what checks types.
OTHERS = ("socket.io-client", "lit", "react", "typescript", "@types/react", "@types/node")
RUN = """
import { connect, RequestError, Snapshot } from "taskbridge-client";
import { useJob } from "taskbridge-client/react";
import { JobProgress } from "taskbridge-client/element";
const client = connect({ url: "http://127.0.0.1:9", token: "t" });
const state = client.state;
client.close();
const { code } = new RequestError("a", "b");
console.log(JSON.stringify([state, typeof useJob, typeof JobProgress, code]));
"""
TYPED = """
import { connect, type Watched } from "taskbridge-client";
import "taskbridge-client/element";
import { useJob } from "taskbridge-client/react";
const client = connect({ url: "https://jobs.example.com", getToken: async () => "t" });
export const state: "connecting" | "live" | "reconnecting" | "refused" | "closed" = client.state;
export const used = () => useJob(client, "job").snapshot?.state;
// @ts-expect-error a job is named by a string
client.watch(1);
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder of the unpacked package, in the ``node_modules`` of an empty project."""
    project = tmp_path_factory.mktemp("project")
    packed = npm("pack", "--json", "--loglevel=error", "--pack-destination", str(project))
    assert packed.returncode == 0, packed.stdout
    [archive] = project.glob("*.tgz")
    with tarfile.open(archive) as files:
        files.extractall(project, filter="data")
    modules = project / "node_modules"
    for name in OTHERS:
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).symlink_to((WEB / "node_modules" / name).resolve())
    (project / "package.json").write_text('{"type": "module"}')
    return (project / "package").rename(modules / "taskbridge-client")


def run(package, *command):
    project = package.parents[1]
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_imports_the_client_the_element_and_the_hook(package):
    (package.parents[1] / "run.js").write_text(RUN)
    told = json.loads(run(package, need("node"), "run.js"))
    assert told == ["connecting", "function", "function", "a"]


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_a_project_gets_the_types(package, resolution):
    (package.parents[1] / "typed.ts").write_text(TYPED)
    module = {"nodenext": "nodenext", "bundler": "esnext"}[resolution]
    options = ["--module", module, "--moduleResolution", resolution, "--target", "es2022"]
    options += ["--strict", "--noEmit", "--types", "node", "--lib", "es2023,dom"]
    run(package, need("node"), "node_modules/typescript/bin/tsc", *options, "typed.ts")


def test_the_package_has_the_version_of_the_distribution_and_says_what_it_is(package):
    about = json.loads((package / "package.json").read_text())
    assert about["version"] == PROJECT["version"]
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "npm install taskbridge-client" in (package / "README.md").read_text()
    assert about["keywords"]
    named = [file for one in about["exports"].values() for file in one.values()]
    assert [file for file in [about["types"], *named] if not (package / file).is_file()] == []
    # Maps, tests and sources stay out.
    assert {path.name for path in package.iterdir()} == {
        *("LICENSE", "README.md", "dist", "package.json"),
    }
