"""Hostile clients get a clean refusal, or are hung up on, and hurt nobody beside them."""

from __future__ import annotations

import uuid

import pytest

from support.attacks import ATTACKS, LIMITS, Target
from support.stack import Stack
from support.witness import Witness

#: Seconds for which the honest client looks, an attack's first ones among them.
LOOK = 1.0


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("hostile"), rabbitmq.new_vhost(), **LIMITS)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def victim():
    return str(uuid.uuid4())


@pytest.fixture(scope="module")
def witness(stack, victim):
    witness = Witness(stack, victim)
    yield witness
    witness.close()


@pytest.fixture
def target(stack, victim):
    [server] = stack.processes
    return Target(stack.bridge, "127.0.0.1", stack.port, victim, log=lambda: server.output)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_an_honest_client_misses_nothing(name, stack, target, witness):
    [server] = stack.processes
    before = len(server.output)
    witness.begin(LOOK)
    try:
        ATTACKS[name](target)
    finally:
        seen = witness.end()
    assert (seen["lost"], seen["disordered"]) == (0, False)
    assert server.running
    assert stack.healthy()
    assert "Traceback" not in server.output[before:]
