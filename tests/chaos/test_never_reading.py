"""Clients that never read cost little, and go."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from bridge.emitter import emitter_for
from support.raw import Raw
from support.wait import until

CLIENTS = int(os.environ.get("NEVER_READING", "500"))
#: Bytes by which the server may grow for each of them, while they are there and after.
EACH = 64 * 1024
SLOW_AFTER = 5.0
#: Connections to the address of each, so that no limit on addresses is in the way.
HOSTS = 10


@pytest.fixture
def stack(rabbitmq, new_stack):
    limits = {
        "TASKBRIDGE_SLOW_AFTER": str(SLOW_AFTER),
        "TASKBRIDGE_CONNECTS_PER_SECOND": "10000",
        "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": str(CLIENTS),
        "TASKBRIDGE_OWNER_REQUESTS_PER_SECOND": "10000",
    }
    stack = new_stack(rabbitmq.new_vhost(), **limits)
    stack.start_server()
    return stack


@pytest.fixture(autouse=True)
def _many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid):
    """Return a process's resident memory, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def connect(stack, number, owner):
    """Return a client that asks for everything of its owner, and reads no more."""
    address = f"127.0.1.{1 + number % HOSTS}"
    raw = Raw("127.0.0.1", stack.port, address, receive_buffer=2048)
    try:
        assert raw.open().connect(stack.token(owner=owner, ttl=3600)).startswith("40/jobs,")
        assert raw.ask("jobs", {})["ok"]
    except BaseException:
        raw.close()
        raise
    return raw


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shared", [True, False], ids=["one owner", "an owner each"])
def test_the_server_grows_little_and_all_are_gone_within_the_limit(stack, shared):
    [server] = stack.processes
    owners = ["crowd"] * CLIENTS if shared else [f"owner-{number}" for number in range(CLIENTS)]
    with ExitStack() as clients:
        for number, owner in enumerate(owners):
            clients.enter_context(connect(stack, number, owner))
        before, most = memory(server.pid), 0

        def gone():
            nonlocal most
            # Not events of a job, which a server keeps for those who come later.
            for owner in dict.fromkeys(owners):
                stack.bridge.push("notice", "x" * 8_000, owner=owner)
            assert emitter_for(stack.settings).flush(30)
            most = max(most, memory(server.pid))
            return server.output.count("disconnected a client: slow") >= CLIENTS

        until(gone, 120, "all of them to be gone")
        growth = (most - before) / CLIENTS
        after = (memory(server.pid) - before) / CLIENTS
    told = (
        f"{CLIENTS} clients: {growth:,.0f} bytes each at most, {after:,.0f} when they were gone\n"
    )
    sys.stdout.write(told)
    assert growth < EACH
    assert after < EACH
    assert stack.healthy()
