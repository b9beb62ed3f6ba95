"""The ``taskbridge`` command as a person uses it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from functools import partial
from pathlib import Path

import pytest
from celery import signature
from PIL import Image

from bridge import Bridge, Settings
from bridge.cli.commands import cli
from bridge.printable import printable
from support.process import Process
from support.stranger import Stranger, attempts
from support.tasks import HOSTILE
from support.terminal import DRAWING, Terminal
from support.wait import until

EVERYTHING = "watch cancel enqueue"


@pytest.fixture
def run(stack):
    """Run a command with the stack's settings; other variables may be given."""
    return partial(run_with, stack)


@pytest.fixture
def run_once(stacks):
    """Run a command whose answer does not depend on the broker."""
    return partial(run_with, stacks("embedded"))


def run_with(stack, *arguments, timeout=60, **variables):
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *arguments],
        env={**stack.env, **variables},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def owner():
    return f"user-{uuid.uuid4().hex[:8]}"


def test_enqueue_and_watch_shows_bars_and_the_result(run, owner, tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(1000))
    kwargs = json.dumps({"path": str(tmp_path)})
    done = run("enqueue", "workers.jobs.checksum", "--kwargs", kwargs, "--owner", owner, "--watch")
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("succeeded")


@pytest.mark.parametrize("problem", ["missing", "a file", "ragged", "empty", "corrupt"])
def test_bad_input_to_a_job_is_one_sentence_and_status_1(run, tmp_path, problem):
    task, kwargs, sentence = bad_input(tmp_path, problem)
    done = run("enqueue", task, "--kwargs", json.dumps(kwargs), "--owner", "me", "--watch")
    assert done.returncode == 1, done.stdout
    assert sentence in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr


def bad_input(folder, problem):
    """Return a task, its arguments and a part of what must be said of them."""
    if problem == "missing":
        return "workers.jobs.checksum", {"path": str(folder / "nowhere")}, "nowhere"
    if problem == "a file":
        (folder / "file").write_text("x")
        return "workers.jobs.checksum", {"path": str(folder / "file")}, "file"
    if problem == "corrupt":
        (folder / "in").mkdir()
        (folder / "in" / "a.jpg").write_text("not a picture")
        return "workers.jobs.thumbnails", {"folder": str(folder / "in")}, "picture"
    table = folder / "t.csv"
    table.write_text("" if problem == "empty" else "a,b\n1\n1,2,3\n")
    return "workers.jobs.import_csv", {"path": str(table)}, "t.csv"


def test_watch_prints_events_as_json_lines_for_scripts(run, stack, owner):
    job = stack.bridge.enqueue("support.talk", [3], owner=owner)
    done = run("watch", job.id, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert events[-1]["type"] == "succeeded"


def test_watch_says_when_a_job_was_saved_and_from_where_its_second_attempt_goes_on(
    run_once, stacks, owner, tmp_path
):
    arguments = [str(tmp_path / "rows"), 20, 0.4, "retry"]
    job = stacks("embedded").bridge.enqueue("support.resume", arguments, owner=owner)
    told = run_once("watch", job.id).stdout
    assert told.count("attempt 2, from 50%\n") == 1
    assert re.search(r"rows: [5-9]\d% .*, saved \d\d:\d\d:\d\d\)\n", told), told
    assert told.endswith(": 20\n")


def test_watch_of_a_failed_job_exits_with_1(run, stack, owner):
    job = stack.bridge.enqueue("support.fail", owner=owner)
    done = run("watch", job.id)
    assert done.returncode == 1
    assert "ValueError: this was bound to fail" in done.stdout


def test_ctrl_c_detaches_and_says_how_to_come_back(stack, owner, tmp_path):
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    command = [sys.executable, "-m", "bridge.cli", "watch", job.id]
    with Process(command, log=tmp_path / "log", env=stack.env) as watching:
        until(lambda: "work:" in watching.output, 20, "the bar")
        watching.signal(signal.SIGINT)
        assert watching.wait(10) == 130
        assert f"taskbridge watch {job.id}" in watching.output
    assert stack.bridge.status(job.id)["state"] == "running"
    stack.bridge.cancel(job.id)


@pytest.fixture
def watching(stack, owner):
    """A running job, and a person who watches it at a terminal."""
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    command = [sys.executable, "-m", "bridge.cli", "watch", job.id]
    with Terminal(command, stack.env) as terminal:
        terminal.await_text("work")
        yield job, terminal
    stack.bridge.request_cancel(job.id)


def test_at_a_terminal_one_ctrl_c_detaches(watching, stack):
    job, terminal = watching
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert f"the job goes on: taskbridge watch {job.id}" in terminal.text
    assert stack.bridge.status(job.id)["state"] == "running"


def test_at_a_terminal_two_ctrl_c_cancel_the_job_after_asking(watching):
    _, terminal = watching
    terminal.type("\x03")
    terminal.await_text("Ctrl-C once more")
    terminal.type("\x03")
    terminal.await_text("Cancel the job?")
    terminal.type("y\n")
    assert terminal.wait() == 1
    assert "cancelled in " in terminal.text


def test_who_does_not_confirm_has_detached(watching, stack):
    job, terminal = watching
    terminal.type("\x03")
    terminal.await_text("Ctrl-C once more")
    terminal.type("\x03")
    terminal.await_text("Cancel the job?")
    terminal.type("n\n")
    assert terminal.wait() == 130
    assert stack.bridge.status(job.id)["state"] == "running"


#: Clipboard, title, screen, in both forms, an override, a line end and wrong markup.
TEXT = "\x1b]52;c;cm0=\x07\x1b]0;t\x1b\\\x1b[2J\x9b2J\x9d52;c;c=\x9c\u202e\x07\x7f\0\r[/x][bold]END"


def assert_nothing_is_obeyed(printed):
    rest = DRAWING.sub("", printed.replace("\r\n", "\n"))
    assert printable(rest, lines=True, most=None) == rest
    assert "[/x][bold]" in rest


def test_a_terminal_obeys_nothing_that_a_job_says(stack, owner):
    owner = f"{owner}[/x][bold]\u202e"
    job = stack.bridge.enqueue(signature(HOSTILE), [TEXT, 2.0], owner=owner)
    with Terminal(stack.command("watch", job.id), stack.env, size=(30, 160)) as terminal:
        for told in ("bar", "line", "out", "forged"):
            terminal.await_text(told)
        assert terminal.wait() == 1
        assert "ValueError: error" in terminal.text
        assert_nothing_is_obeyed(terminal.raw)
    with Terminal(stack.command("jobs", "--owner", owner), stack.env, size=(30, 160)) as terminal:
        assert terminal.wait() == 0
        assert job.id in terminal.text
        assert "[/nothing][red]" in terminal.text
        assert "\u202e" not in terminal.raw
        assert "\x1b]" not in terminal.raw
    with Terminal(stack.command("jobs", "--owner", owner + "[/x][bold]"), stack.env) as terminal:
        assert terminal.wait() == 0
        assert_nothing_is_obeyed(terminal.raw)


def test_what_a_job_writes_is_exact_in_a_pipe_and_all_else_is_safe(run, stack, owner, tmp_path):
    job = stack.bridge.enqueue(signature(HOSTILE), [TEXT, 0.1], owner=owner)
    command = stack.command("watch", job.id)
    done = subprocess.run(command, env=stack.env, capture_output=True, timeout=60, check=False)
    exact = f"{TEXT}out\n".encode()
    assert exact in done.stdout
    assert_nothing_is_obeyed(done.stdout.replace(exact, b"").decode())
    as_json = run("watch", job.id, "--json").stdout
    assert printable(as_json, lines=True, most=None) == as_json


def test_the_log_of_a_worker_shows_what_a_client_says_as_text_of_one_record(stack, owner):
    mark = uuid.uuid4().hex
    job = stack.bridge.enqueue(signature(HOSTILE), [f"{TEXT}\n{mark}", 0.1], owner=owner)
    until(lambda: stack.bridge.status(job.id)["state"] == "failed", 30, "the job to fail")
    worker = next(one for one in stack.processes if "ready." in one.output)
    until(lambda: "ValueError: error" in worker.output and mark in worker.output, 30, "its log")
    log = worker.output.partition("ready.")[2]  # before that, it lists the tasks that it knows
    assert_nothing_is_obeyed(log)
    assert not [line for line in log.splitlines() if line.startswith(mark)]


def test_jobs_lists_the_owners_jobs(run, stack, owner):
    title = "Sums of May"
    call = "enqueue", "support.add", "--args", "[1, 1]", "--webhook", "billing"
    done = run(*call, "--owner", owner, "--title", title)
    job = done.stdout.strip()
    assert title in run("watch", job).stdout.splitlines()
    listed = run("jobs", "--owner", owner).stdout
    assert job in listed
    assert title in listed
    (snapshot,) = map(json.loads, run("jobs", "--owner", owner, "--json").stdout.splitlines())
    assert snapshot["state"] == "succeeded"


def test_cancel_stops_a_running_job(run, stack, owner):
    job = stack.bridge.enqueue("support.work", [60.0], owner=owner)
    until(lambda: stack.bridge.status(job.id)["bars"], 20, "the bar to appear")
    assert run("cancel", job.id).returncode == 0
    until(lambda: stack.bridge.status(job.id)["state"] == "cancelled", 30, "the job to stop")
    again = run("cancel", job.id)
    assert again.returncode == 1
    assert "already been cancelled" in again.stderr


def test_token_prints_a_token_that_the_server_takes(run, stack, owner):
    token = run("token", "--owner", owner, "--scope", "watch").stdout.strip()
    assert token.count(".") == 2


def test_doctor_finds_a_whole_stack_well(run):
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("ok") for line in done.stdout.splitlines())
    assert "broker → worker → server → client" in done.stdout
    unmet = "tasks with acks_late=False are lost with their worker: support.linger_early"
    assert unmet in done.stdout, "a durable worker says which promise cannot hold"


def test_doctor_needs_no_secret_where_a_worker_runs(run):
    worker = {"TASKBRIDGE_SECRET": "", "TASKBRIDGE_SECRET_FILE": ""}
    done = run("doctor", **worker)
    assert done.returncode == 0, done.stdout
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert ["skipped", "probe", "without a secret no job can be watched"] in lines
    assert {line[0] for line in lines if line[1] != "probe"} == {"ok"}


def test_doctor_names_the_first_broken_link_and_its_remedy(run, tmp_path):
    home = {"TASKBRIDGE_HOME": str(tmp_path), "TASKBRIDGE_BROKER_URL": ""}
    done = run("doctor", **home)
    assert done.returncode == 1
    assert "taskbridge worker" in done.stdout


@pytest.mark.parametrize(
    ("variables", "arguments", "status", "sentence"),
    [
        ({}, ["flower", "--address", "0.0.0.0"], 2, "TASKBRIDGE_FLOWER_AUTH"),
        ({}, ["flower", "--conf=x", "--address=0.0.0.0"], 2, "TASKBRIDGE_FLOWER_AUTH"),
        ({"TASKBRIDGE_PROT": "1"}, ["token", "--owner", "me"], 2, "TASKBRIDGE_PORT"),
        ({"TASKBRIDGE_PORT": "x"}, ["token", "--owner", "me"], 2, "TASKBRIDGE_PORT"),
        ({"TASKBRIDGE_SECRET": "short"}, ["token", "--owner", "me"], 2, "TASKBRIDGE_SECRET"),
        ({"TASKBRIDGE_BROKER_URL": "mqtt://x"}, ["enqueue", "a"], 2, "TASKBRIDGE_BROKER_URL"),
        ({"TASKBRIDGE_BROKER_URL": "amqp://127.0.0.1:1//"}, ["enqueue", "a"], 1, "no broker"),
        ({"TASKBRIDGE_URL": "http://127.0.0.1:1"}, ["jobs", "--owner", "me"], 1, "no socket"),
        ({}, ["enqueue", "a", "--kwargs", "{"], 2, "--kwargs"),
        ({}, ["enqueue", "a", "--kwargs", "[]"], 2, "--kwargs"),
        ({}, ["enqueue", "a", "--kwargs", '{"x": NaN}'], 2, "JSON"),
        ({}, ["token", "--owner", "me", "--scope", "everything"], 2, "everything"),
        ({}, ["token"], 2, "owner"),
        ({}, ["watch", "nothing"], 1, "no job nothing"),
        ({}, ["cancel", "nothing"], 1, "no job nothing"),
        ({}, ["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_gets_one_sentence_and_the_right_status(
    run_once, variables, arguments, status, sentence
):
    done = run_once(*arguments, **variables)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"TASKBRIDGE_SECRET": "short"}, "shorter than 32 bytes"),
        ({"TASKBRIDGE_SECRET": "", "TASKBRIDGE_HOME": "/nonexistent"}, "TASKBRIDGE_SECRET"),
        ({"TASKBRIDGE_PROT": "1"}, "TASKBRIDGE_PORT"),
    ],
)
def test_a_server_without_usable_settings_does_not_start(run_once, variables, sentence):
    done = run_once("serve", **variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named(run_once):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_once("serve", TASKBRIDGE_PORT=port)
        assert done.returncode == 1
        assert port in done.stderr
        assert "TASKBRIDGE_PORT" in done.stderr
        assert "Traceback" not in done.stderr
        assert run_once("up", TASKBRIDGE_PORT=port).returncode == 2


def test_a_worker_with_a_wrong_setting_says_so_without_a_traceback(stacks):
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker"],
        env={**stacks("embedded").env, "TASKBRIDGE_PROT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "TASKBRIDGE_PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_each_help_ends_in_runnable_examples(name):
    lines = cli.commands[name].get_help(click_context(name)).rstrip().splitlines()
    examples = lines[lines.index("  Examples:") + 1 :]
    assert examples
    assert all("taskbridge" in line for line in examples)


def click_context(name):
    import click

    return click.Context(cli.commands[name], info_name=name)


def test_a_demo_runs_one_job_and_ends_all_it_started(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(60):
        with (tmp_path / "in" / str(number)).open("wb") as file:
            file.truncate(30_000_000)  # sparse: costs no disk, but takes its time to read
    env = {name: value for name, value in os.environ.items() if "TASKBRIDGE" not in name}
    env["TASKBRIDGE_HOME"] = str(tmp_path / "home")
    command = [sys.executable, "-m", "bridge.cli", "demo", "--once", "--path", str(tmp_path / "in")]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = set(re.findall(r"bytes.*: (\d+)%", done.stdout))
    assert len(states - {"0", "100"}) >= 10
    (verify,) = re.findall(r"^verify +(.*)", done.stdout, re.MULTILINE)
    assert f"{tmp_path}/home/demo-output/demo/" in verify
    assert subprocess.run(["sh", "-c", verify], check=False).returncode == 0
    assert processes_of(tmp_path) == []


def test_up_serves_until_it_is_asked_to_end_and_leaves_nothing(tmp_path):
    env = {name: value for name, value in os.environ.items() if "TASKBRIDGE" not in name}
    env |= {"TASKBRIDGE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "bridge.cli", "up"]
    with taken(8000), Process(command, log=tmp_path / "log", env=env) as up:
        until(lambda: "ready." in up.output, 60, "the worker to be ready")
        up.await_output("serving on", 60)
        assert re.search(r"page +http://127\.0\.0\.1:80(?!00)\d\d/", up.output)
        flower = re.search(r"Flower +(http\S+)", up.output)[1]
        until(lambda: "taskbridge-" in fetched(f"{flower}workers"), 30, "Flower to see the worker")
        assert (tmp_path / "home" / "secret").stat().st_mode & 0o777 == 0o600
        page = re.search(r"page +(http\S+)/", up.output)[1]
        assert refused_of(tmp_path / "home", page, tmp_path) == {"task_not_allowed"}
        assert "may enqueue nothing: TASKBRIDGE_TASKS names the tasks" in up.output
        doctor = subprocess.run(
            [sys.executable, "-m", "bridge.cli", "doctor"],
            env={**env, "TASKBRIDGE_ARCHIVE_URL": f"sqlite:///{tmp_path}/home/archive.sqlite"},
            check=False, timeout=60, capture_output=True, text=True,
        )  # fmt: skip
        assert doctor.returncode == 0
        assert "archive  it has the probe" in doctor.stdout
        assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
        up.signal(signal.SIGINT)
        assert up.wait(10) == 0
    assert processes_of(tmp_path) == []


def refused_of(home, url, outside):
    """Have a client with every scope ask for what it should not get; return the answers' codes."""
    bridge = Bridge(settings=Settings.from_environ({"TASKBRIDGE_HOME": str(home)}))
    with Stranger(url, bridge.token(owner="eve", scope=EVERYTHING)) as eve:
        asked = [eve.enqueue(*attempt) for attempt in attempts(home, outside)]
    return {answer["error"]["code"] for answer in asked}


def test_a_client_of_the_demo_reaches_nothing_but_the_demos_folder(tmp_path):
    outside = strangers_folder(tmp_path / "canary-outside")
    folder = strangers_folder(tmp_path / "in")
    (folder / "link.csv").symlink_to(outside / "table.csv")
    env = {name: value for name, value in os.environ.items() if "TASKBRIDGE" not in name}
    env["TASKBRIDGE_HOME"] = str(tmp_path / "home")
    command = [sys.executable, "-m", "bridge.cli", "demo", "--path", str(folder)]
    with Process(command, log=tmp_path / "log", env=env) as demo:
        demo.await_output("Ctrl-C ends the demo", 90)
        url, token = re.search(r"page +(http\S+)/#token=(\S+)", demo.output).groups()
        (home,) = (tmp_path / "home").glob("demo-????????")
        before = {path: path.read_bytes() for path in [home / "secret", *outside.iterdir()]}
        with Stranger(url, token) as eve:
            told = [eve.outcome(*attempt) for attempt in attempts(home, outside)]
            honest = [eve.outcome(f"workers.jobs.{name}", kwargs) for name, kwargs in [
                ("checksum", {"path": str(folder), "output": "m"}), ("checksum", {"path": "."}),
                ("import_csv", {"path": "table.csv"}), ("thumbnails", {"folder": "."}),
            ]]  # fmt: skip
        assert {path: path.read_bytes() for path in before} == before
        assert [one["state"] for one in honest] == ["succeeded"] * 4
        for one in told:
            assert one["error"]["class"] == "InputError" or one["result"] is None, one
        assert "canary" not in str(told).replace(str(outside), "")
        demo.signal(signal.SIGINT)
        assert demo.wait(20) == 0
    written = {path.relative_to(tmp_path).parts[:3] for path in (tmp_path / "home").rglob("*.*")}
    assert written == {("home", "demo-output", "demo")}


def strangers_folder(folder):
    """Make a folder with a table and a picture; return it."""
    folder.mkdir()
    (folder / "table.csv").write_text("a,b\ncanary,1\n")
    Image.new("RGB", (5, 5)).save(folder / "a.png")
    return folder


def fetched(url):
    """Return a page's text; nothing while it is not served."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


@contextlib.contextmanager
def taken(port):
    """Hold a port; it is as well if somebody else does."""
    with socket.socket() as holder:
        # Without it the leftovers of earlier connections would keep it from being held.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            holder.bind(("127.0.0.1", port))
            holder.listen()
        yield


def processes_of(folder):
    """Return the command lines of processes whose environment names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder / "home").encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
