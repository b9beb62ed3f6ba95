"""Hostile clients get a clean refusal, or are hung up on, and hurt nobody beside them."""

from __future__ import annotations

import sys
import uuid

import pytest

from support.attacks import ATTACKS, LIMITS, Target
from support.attacks.modes import MODES, NOT_IN, in_mode
from support.balancer import start_balancer
from support.ports import free_port
from support.siege import besiege
from support.stack import Stack
from support.wait import until
from support.witness import Witness

#: gunicorn with gevent has its own HTTP alone, and what it has of WebSockets with threads.
LONG = {"gevent"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(mode, marks=[pytest.mark.long] * (mode in LONG)) for mode in MODES],
)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory, mode):
    """A server of the mode; with ``haproxy``, one behind the balancer of compose/."""
    stack = Stack(tmp_path_factory.mktemp("hostile"), rabbitmq.new_vhost(), **LIMITS)
    stack.mode = "eventlet" if mode == "haproxy" else mode
    try:
        if mode == "haproxy":
            stack.env["TASKBRIDGE_HEALTH_PORT"] = str(free_port())
            stack.env["TASKBRIDGE_TRUSTED_PROXIES"] = "127.0.0.1"
        stack.start_server()
        if mode == "haproxy":
            stack.env["TASKBRIDGE_URL"] = f"http://127.0.0.1:{start_balancer(stack)}"
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def outcomes(stack, mode, request):
    """What came of the attacks of a mode that are selected: all are performed here."""
    server, job = stack.processes[0], str(uuid.uuid4())
    port = int(stack.settings.server_url.rpartition(":")[2])
    target = Target(stack.bridge, "127.0.0.1", port, job, log=lambda: server.output)
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    names = [
        one["name"] for one in params if one.get("mode") == mode and one.get("name") in ATTACKS
    ]
    witness = Witness(stack, job)
    try:
        outcomes = besiege(in_mode(names, mode), target, witness)
        until(stack.healthy, 20, "the server to be well")
        yield outcomes
    finally:
        witness.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_an_honest_client_misses_nothing(mode, name, stack, outcomes):
    if reason := NOT_IN.get(name, {}).get(mode):
        pytest.skip(reason)
    outcome = outcomes[name]
    sys.stdout.write(f"{outcome.ended - outcome.begun:.2f} s\n")
    assert not outcome.error, outcome.error
    assert [(look["lost"], look["disordered"]) for look in outcome.looks] == [
        (0, False) for _ in outcome.looks
    ]
    assert outcome.looks
    assert "Traceback" not in outcome.log, outcome.log
    assert all(process.running for process in stack.processes)


def test_there_are_reasons_for_what_a_mode_leaves_out():
    assert set(NOT_IN) <= set(ATTACKS)
    for modes in NOT_IN.values():
        assert modes.keys() <= set(MODES)
        assert all(modes.values())
