"""What `taskbridge jobs --run-again` and `--cancel` ask the servers, and the person before that."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bridge.cli import commands
from bridge.cli.actions import bulk

KEEPS_NOTHING = {"job": "b", "code": "not_kept", "message": "its arguments were not kept"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The payloads of the requests; each of two parts finds one job, the second a refused one."""
    monkeypatch.setenv("TASKBRIDGE_HOME", str(tmp_path))
    monkeypatch.setenv("TASKBRIDGE_SECRET", "a secret for tests that is long enough to sign with")
    payloads = []

    def request(bridge, name, payload, token, shard):
        assert (name, shard) == ("bulk", None)
        payloads.append(payload)
        preview = payload.get("preview", False)
        if "next" not in payload:
            done = {"job": "a"} if preview else {"job": "a2", "again_of": "a"}
            return {"ok": True, "count": 1, "jobs": [done], "refused": [], "next": "n"}
        return {"ok": True, "count": 1, "jobs": [], "refused": [KEEPS_NOTHING]}

    monkeypatch.setattr(bulk, "request", request)
    return payloads


def run(*arguments, answer=""):
    return CliRunner().invoke(commands.cli, ["jobs", *arguments], input=answer)


def test_it_does_nothing_without_a_yes(asked):
    done = run("--failed", "--run-again", answer="n\n")
    assert done.exit_code == 1
    assert "Run 1 job again? [y/N]" in done.output
    assert "b: its arguments were not kept" in done.output
    assert [one["preview"] for one in asked] == [True, True]


def test_all_parts_are_done_with_one_key_and_a_refusal_is_a_failure(asked):
    done = run("--owner", "me", "--failed", "--run-again", answer="y\n")
    assert done.exit_code == 1
    assert "a2 repeats a" in done.output
    made = [one for one in asked if "preview" not in one]
    assert {one["action"] for one in made} == {"run_again"}
    assert {tuple(one["filter"].items()) for one in made} == {(("state", "failed"),)}
    assert [one.get("next") for one in made] == [None, "n"]
    assert len({one["key"] for one in made}) == 1


def test_with_yes_there_is_no_question_and_two_actions_are_refused(asked):
    assert run("--all", "--cancel", "--yes", "--key", "k").exit_code == 1
    assert [(one["action"], one["key"]) for one in asked] == [("cancel", "k")] * 2
    both = run("--all", "--cancel", "--run-again")
    assert both.exit_code == 2
    assert "contradict each other" in both.output
