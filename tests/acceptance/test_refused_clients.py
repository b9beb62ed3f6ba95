"""A Python client that a server refuses gets the server's reason; one without a server waits."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace

import pytest

from bridge import Bridge, tokens
from bridge.client.watcher import Watcher
from bridge.errors import ServerUnavailable, TokenError
from support.link import Link
from support.stack import Stack
from support.wait import until

#: Not the server's.
SECRET = "another secret that is long enough to sign with"


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("refused"), rabbitmq.new_vhost())
    try:
        stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stranger(stack):
    """A service with another secret than the server's."""
    with Bridge(settings=replace(stack.settings, secret=(SECRET,))) as bridge:
        yield bridge


def test_a_wrong_secret_is_said_to_who_watches(stranger):
    for timeout in (None, 5):
        with pytest.raises(TokenError, match="token"):
            list(stranger.watch("a-job", timeout=timeout))


@pytest.mark.parametrize("command", [["watch", "a-job"], ["jobs", "--owner", "me"]])
def test_a_wrong_secret_is_said_by_the_commands(stack, command):
    environ = {**stack.env, "TASKBRIDGE_SECRET": SECRET}
    done = subprocess.run(
        stack.command(*command), env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "token" in done.stderr
    assert "no socket server answers" not in done.stderr
    assert "Traceback" not in done.stderr


def test_who_watches_without_a_timeout_waits_until_there_is_a_server(rabbitmq, tmp_path):
    stack = Stack(tmp_path / "late", rabbitmq.new_vhost())
    try:
        job = stack.bridge.enqueue("support.add", [1, 2], owner="me").id
        with pytest.raises(ServerUnavailable, match="no socket server answers"):
            list(stack.bridge.watch(job, timeout=0.5))
        events = []
        watch = stack.bridge.watch(job)
        thread = threading.Thread(target=lambda: events.extend(watch))
        thread.start()
        stack.start_server()
        stack.start_worker()
        thread.join(60)
        assert events[-1]["type"] == "succeeded"
    finally:
        stack.stop()


def test_a_watch_outlasts_its_token_across_a_cut_for_as_long_as_the_job(stack, tmp_path):
    job = stack.bridge.enqueue("support.counts", [300, str(tmp_path / "end")], owner="me").id
    token, events = stack.token(jobs=[job], ttl=0.5), []
    with Link(stack.port) as link:
        watch = Watcher(f"http://127.0.0.1:{link.port}", token, job, timeout=20)
        thread = threading.Thread(target=lambda: events.extend(watch))
        thread.start()
        until(lambda: is_refused(stack, token), 20, "the end of the first token")
        link.cut()
        until(lambda: not watch.connected, 20, "the cut", interval=0.001)
        (tmp_path / "end").touch()
        thread.join(60)
    lines = [line["message"] for one in events for line in one["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(300)]
    assert events[-1]["type"] == "succeeded"
    assert watch.recovered


def is_refused(stack, token):
    try:
        tokens.verify(stack.settings.keys, token, leeway=stack.settings.token_leeway)
    except TokenError:
        return True
    return False


def test_a_token_that_expired_while_the_server_was_away_ends_the_watch_with_the_reason(
    rabbitmq, tmp_path
):
    stack = Stack(tmp_path / "away", rabbitmq.new_vhost(), TASKBRIDGE_TOKEN_LEEWAY="0.1")
    try:
        server = stack.start_server()
        bridge = stack.bridge
        job = bridge.enqueue("support.add", [1, 2], owner="me").id
        token = bridge.token(jobs=[job], ttl=3)
        errors = []

        def watch():
            try:
                list(Watcher(stack.url, token, job))
            except TokenError as error:
                errors.append(str(error))

        thread = threading.Thread(target=watch)
        thread.start()
        until(lambda: 'watch sid="' in server.output, 20, "the watch")
        server.kill()
        with pytest.raises(AssertionError):
            until(lambda: errors, 4, "the token to expire")
        stack.start_server()
        thread.join(30)
        assert errors
        assert "expired" in errors[0]
    finally:
        stack.stop()
