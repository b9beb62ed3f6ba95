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
OTHERS = ("socket.io-client", "lit", "react", "vue", "typescript", "@types/react", "@types/node")
#: What checks the package.
CHECKERS = ("@arethetypeswrong/core", "vite")
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

#: Prints what "Are the types wrong?" finds in a package, for hosts that import modules.
ARE_THE_TYPES_WRONG = """
import { readFileSync } from "node:fs";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
const archive = createPackageFromTarballData(readFileSync(process.argv[2]));
const { types, entrypoints, problems } = await checkPackage(archive);
const others = ["node10", "node16-cjs"];
const found = problems.filter((one) => !others.includes(one.resolutionKind));
console.log(JSON.stringify([types.kind, Object.keys(entrypoints), found]));
"""
#: Bundles a module, and prints the modules that are left in it, and the code.
BUNDLE = """
import { build } from "vite";
const lib = { entry: process.argv[2], formats: ["es"] };
const options = { configFile: false, publicDir: false, logLevel: "error" };
const [{ output }] = await build({ ...options, build: { lib, write: false, minify: false } });
console.log(JSON.stringify([output[0].moduleIds, output[0].code]));
"""
#: Imports: libraries that a bundle of each needs, of those that some part of the package needs.
LIBRARIES = {"engine.io-client", "socket.io-client", "lit", "react", "vue"}
CLIENT = {"engine.io-client", "socket.io-client"}
IMPORTS = {
    'export { Snapshot } from "taskbridge-client"': set(),
    'export { connect } from "taskbridge-client"': CLIENT,
    'export { jobStore } from "taskbridge-client/svelte"': set(),
    'export { useJob } from "taskbridge-client/vue"': {"vue"},
    'export { useJob } from "taskbridge-client/react"': {"react"},
    'import "taskbridge-client/element"': {*CLIENT, "lit"},
}


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
    for name in (*OTHERS, *CHECKERS):
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


def test_the_types_of_all_its_parts_are_right(package):
    if not (WEB / "node_modules" / CHECKERS[0]).exists():
        pytest.skip(f"npm has not installed {CHECKERS[0]}: run `make web`")
    project = package.parents[1]
    (project / "wrong.js").write_text(ARE_THE_TYPES_WRONG)
    [archive] = project.glob("*.tgz")
    kind, parts, problems = json.loads(run(package, need("node"), "wrong.js", str(archive)))
    assert kind == "included"
    assert parts == list(json.loads((package / "package.json").read_text())["exports"])
    assert problems == []


@pytest.mark.parametrize("text", IMPORTS)
def test_a_bundle_has_no_more_of_it_than_it_imports(package, text):
    project = package.parents[1]
    (project / "entry.js").write_text(text)
    (project / "bundle.js").write_text(BUNDLE)
    modules, code = json.loads(run(package, need("node"), "bundle.js", str(project / "entry.js")))
    folders = {part for one in modules for part in LIBRARIES if f"/node_modules/{part}/" in one}
    assert folders == IMPORTS[text]
    assert ("customElements.define(" in code) is ("lit" in folders)


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
