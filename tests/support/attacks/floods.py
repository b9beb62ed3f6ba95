"""Too many, or too slow."""

from __future__ import annotations

import socket
import struct
import time
import uuid
from contextlib import ExitStack

from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from support.attacks import Target, attack
from support.attacks.proxies import is_within_the_rate
from support.wait import until


@attack
def flood_of_connections(target: Target) -> None:
    """Faster than one address may: what is too many is closed before a word is read."""
    begun, raws = time.monotonic(), []
    with ExitStack() as stack:
        for _ in range(4 * int(target.bridge.settings.connects_per_second)):
            raws.append(stack.enter_context(target.raw()))
            raws[-1].send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        admitted = sum(raw.reply().status == 200 for raw in raws)
    assert is_within_the_rate(target, admitted, begun)


@attack
def more_connections_than_an_address_may_have(target: Target) -> None:
    most = target.bridge.settings.max_connections_per_address
    with ExitStack() as stack:
        held = [stack.enter_context(target.raw()) for _ in range(most + 5)]
        for raw in held[most:]:
            raw.await_end()


@attack
def more_connections_than_an_owner_may_have(target: Target) -> None:
    owner = f"intruder-{uuid.uuid4()}"
    with ExitStack() as stack:
        for _ in range(target.bridge.settings.max_connections_per_owner):
            stack.enter_context(target.intruder(owner=owner))
        raw = stack.enter_context(target.raw().open())
        answer = raw.connect(target.bridge.token(owner=owner))
        assert '"code":"too_many_connections"' in answer


@attack
def client_that_never_reads(target: Target) -> None:
    """Its own job talks; nothing of it is taken."""
    owner = f"intruder-{uuid.uuid4()}"
    raw = target.raw(receive_buffer=2048).open()
    assert raw.connect(target.bridge.token(owner=owner)).startswith("40/jobs,{")
    assert raw.ask("jobs", {})["ok"]
    emitter = emitter_for(target.bridge.settings)
    run = Run(job=owner, task=owner, name="support.nobody", owner=owner)
    emitter.put(run, "started", {"total": 1})
    gone = "disconnected a client: slow"
    before = target.log().count(gone)
    with raw:
        for _ in range(40):
            emitter.put_line(run, "output", "x" * 30_000)
            emitter.flush(5)
        until(lambda: target.log().count(gone) > before, 15, "the server to end the connection")
    emitter.put(run, "succeeded")


@attack
def connections_that_vanish(target: Target) -> None:
    """A reset in the middle of everything, as from a machine that has crashed."""
    for stage in range(4):
        raw = target.raw()
        if stage > 0:
            raw.upgrade()
        if stage > 1:
            raw.connect(target.bridge.token(owner=target.own))
        if stage > 2:
            raw.frame(b'42/jobs,1["watch",{"job":"x"}]')
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()


@attack
def large_messages_without_end(target: Target) -> None:
    """Each within its bounds: they are read more and more slowly."""
    filler = "x" * 60_000
    with target.intruder() as raw:
        raw.socket.settimeout(0.2)
        deadline, sent = time.monotonic() + 2, 0
        while time.monotonic() < deadline and raw.say(f'42/jobs,["watch",{{"job":"{filler}"}}]'):
            sent += 1
    assert sent < 200
