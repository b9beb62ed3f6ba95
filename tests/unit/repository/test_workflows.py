"""The workflows: what they may do, what waits for what, and that what they run is there."""

from __future__ import annotations

import re

import pytest
import yaml

from support.installed import PROJECT
from support.process import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yml"))}
JOBS = [(name, key) for name, one in WORKFLOWS.items() for key in one["jobs"]]
RELEASE = WORKFLOWS.get("release", {}).get("jobs", {})
#: Jobs of a release that publish, each with the action or command by which it does.
PUBLISHERS = {
    "pypi": "pypa/gh-action-pypi-publish",
    "npm": "npm publish --provenance --access public",
    "github": "gh release create",
}


def text_of(job):
    return yaml.safe_dump(job, width=10_000)


def needs(job):
    """Return the jobs that must have passed before one begins, of those that it names."""
    named = job.get("needs", [])
    return {named} if isinstance(named, str) else set(named)


def needed(name):
    """Return all jobs of a release that must have passed before one begins."""
    direct = needs(RELEASE[name])
    return direct.union(*map(needed, direct))


@pytest.mark.parametrize(("workflow", "name"), JOBS)
def test_a_job_is_bounded_in_time_and_may_read_alone_unless_it_publishes(workflow, name):
    one = WORKFLOWS[workflow]
    job = one["jobs"][name]
    assert one["permissions"] == {"contents": "read"}
    assert needs(job) <= set(one["jobs"])
    if "uses" in job:  # another workflow, whose jobs have bounds of their own
        assert (ROOT / job["uses"]).is_file()
    else:
        assert 0 < job["timeout-minutes"] <= 90
    publishes = workflow == "release" and name in PUBLISHERS
    assert publishes or "permissions" not in job


@pytest.mark.parametrize(("workflow", "name"), JOBS)
def test_what_a_job_runs_is_there(workflow, name):
    text = text_of(WORKFLOWS[workflow]["jobs"][name])
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z0-9-]+)", text)) <= set(targets)
    for path in re.findall(r"(?:tests|scripts)/[\w./-]+", text):
        assert (ROOT / path).exists(), path
    for action in re.findall(r"uses: (\S+)", text):
        assert re.search(r"@(v\d|release/v1$)", action) or action.startswith("./"), action


def test_the_suite_runs_on_every_python_that_the_distribution_names():
    prefix = "Programming Language :: Python :: 3."
    named = {
        one.removeprefix("Programming Language :: Python :: ")
        for one in PROJECT["classifiers"]
        if one.startswith(prefix)
    }
    assert named == set(WORKFLOWS["test"]["jobs"]["suite"]["strategy"]["matrix"]["python"])
    assert min(named, key=lambda one: int(one[2:])) == PROJECT["requires-python"].removeprefix(">=")


def test_a_release_is_built_once_from_a_tag_of_its_version():
    # YAML takes the key `on` for a truth value.
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v*"]}}
    assert [name for name, job in RELEASE.items() if "make dist" in text_of(job)] == ["build"]
    assert "GITHUB_REF_NAME" in text_of(RELEASE["build"])


@pytest.mark.parametrize("name", PUBLISHERS)
def test_what_is_published_was_tested_and_needs_no_stored_secret(name):
    assert needed(name) >= {"build", "suite", "installed"}
    job = RELEASE[name]
    assert PUBLISHERS[name] in text_of(job)
    assert job["environment"]
    assert "secrets." not in text_of(RELEASE)
    wanted = {"contents": "write"} if name == "github" else {"id-token": "write"}
    assert job["permissions"] == wanted


def test_the_files_that_are_checked_are_those_that_are_published():
    uploaded = {
        step["with"]["name"] for step in RELEASE["build"]["steps"] if "upload" in text_of(step)
    }
    for name in ("installed", *PUBLISHERS):
        steps = RELEASE[name]["steps"]
        taken = [step for step in steps if "actions/download-artifact" in text_of(step)]
        assert taken, name
        assert {one["with"]["name"] for one in taken} <= uploaded
        assert not [step for step in steps if "actions/checkout" in text_of(step)], name
