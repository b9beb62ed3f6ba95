"""What `taskbridge jobs --run-again` and `--cancel` ask the servers, and the person before that."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bridge.cli import commands
from bridge.cli.actions import bulk, repeater
from bridge.cli.request import TemporaryRefusal
from bridge.errors import JobNotFound, ServerUnavailable
from bridge.protocol.error_codes import error_object

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


def run(*arguments, answer="", command="jobs"):
    return CliRunner().invoke(commands.cli, [command, *arguments], input=answer)


@pytest.fixture
def waits(monkeypatch):
    """Seconds of each pause, which are over at once; the time that was waited is the clock."""
    found = []
    monkeypatch.setattr(repeater, "sleep", found.append)
    monkeypatch.setattr(repeater, "monotonic", lambda: sum(found))
    return found


TOO_MANY = error_object("too_many_requests", "too many jobs were enqueued", retry_after=7.0)


class Scripted:
    """Answers of a server in turn, the last again and again; errors are raised."""

    def __init__(self, *answers):
        self.answers, self.keys, self.positions = answers, [], []

    def __call__(self, bridge, name, payload, token, shard):
        self.keys.append(payload["key"])
        self.positions.append(payload.get("next"))
        answer = self.answers[min(len(self.keys), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def scripted(asked, waits, monkeypatch):
    """Let a server give some answers, instead of those of ``asked``."""

    def script(*answers):
        server = Scripted(*answers)
        monkeypatch.setattr(bulk, "request", server)
        return server

    return script


def answered(*done, refused=(), **more):
    """Return an answer: some jobs run again, others refused by the limit of enqueues a minute."""
    jobs = [{"job": f"{one}2", "again_of": one} for one in done]
    later = [{"job": one, **TOO_MANY} for one in refused]
    return {"ok": True, "count": len(jobs + later), "jobs": jobs, "refused": later, **more}


def repeats(server):
    """Return the sentence that says how to go on with the key that the server got."""
    [key] = set(server.keys)
    return f"repeat the command with --key {key}"


def test_what_a_limit_refuses_is_asked_for_again_with_the_same_key(scripted, waits):
    server = scripted(
        answered("a", refused=["b", "c"], next="n"),
        answered("a", "b", refused=["c"], next="n"),
        answered("a", "b", "c", next="n"),
        TemporaryRefusal(TOO_MANY),
        answered("d"),
    )
    done = run("--all", "--run-again", "--yes")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0, ["a2 repeats a", "b2 repeats b", "c2 repeats c", "d2 repeats d"]
    )  # fmt: skip
    assert len(set(server.keys)) == 1
    assert server.positions == [None, None, None, "n", "n"]
    assert waits == [7.0] * 3
    assert done.stderr.count("asking again with the same key") == 1
    assert "--key" not in done.stderr


def test_after_two_minutes_without_progress_the_rest_is_named_with_the_key(scripted, waits):
    server = scripted(*[answered("a", refused=["b"], next="n")] * 30)
    server.answers = (*server.answers[:19], answered("c", refused=["d"]))
    done = run("--all", "--run-again", "--yes")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["a2 repeats a", "c2 repeats c"]
    assert [done.stderr.count(f"{job}: too many jobs were enqueued") for job in "bd"] == [1, 1]
    assert sum(waits) == 2 * bulk.LIMIT
    assert repeats(server) in done.stderr


def test_a_final_refusal_is_named_with_the_key_and_not_waited_for(scripted, waits):
    server = scripted({**answered("a"), "refused": [KEEPS_NOTHING]})
    done = run("--all", "--run-again", "--yes")
    assert (done.exit_code, waits) == (1, [])
    assert done.stderr.count("its arguments were not kept") == 1
    assert repeats(server) in done.stderr


@pytest.mark.parametrize("error", [ServerUnavailable("no answer"), KeyboardInterrupt()])
def test_an_error_amid_the_jobs_is_followed_by_the_key(scripted, error):
    server = scripted(answered("a", next="n"), error)
    done = run("--all", "--run-again", "--yes")
    assert done.exit_code in (1, 130)
    assert repeats(server) in done.stderr


def test_one_job_is_run_again_with_the_same_key_until_the_server_has_room(scripted, waits):
    server = scripted(TemporaryRefusal(TOO_MANY), {"ok": True, "job": "b"})
    done = run("a", command="run-again")
    assert (done.exit_code, done.stdout) == (0, "b\n")
    assert len(set(server.keys)) == 1
    assert waits == [7.0]


@pytest.mark.parametrize("error", [ServerUnavailable("no answer"), TemporaryRefusal(TOO_MANY)])
def test_the_key_is_told_where_one_job_may_have_been_run_again(scripted, waits, error):
    server = scripted(error)
    done = run("a", command="run-again")
    assert done.exit_code == 1
    assert repeats(server) in done.stderr
    assert sum(waits) == (0 if isinstance(error, ServerUnavailable) else bulk.LIMIT)


def test_no_key_is_told_where_a_job_was_not_run_again(scripted):
    scripted(JobNotFound("no such job"))
    assert "--key" not in run("a", command="run-again").stderr


def test_what_is_cancelled_is_not_waited_for_and_has_no_key(scripted, waits):
    scripted(answered(refused=["a"]))
    done = run("--all", "--cancel", "--yes")
    assert (done.exit_code, waits) == (1, [])
    assert "--key" not in done.stderr


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
