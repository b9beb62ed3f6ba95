"""Free TCP ports."""

from __future__ import annotations

import os
import random
import socket

#: Below the range from which Linux takes ports for outgoing connections (32768 and up), so that
#: a port stays free between being chosen here and being bound by whom it is for.
PORTS = range(15_000, 32_000)
#: Processes of pytest-xdist that have ports of their own: a port looks free as well before its
#: program has started, and while that is restarted.
PROCESSES = 8

_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on and that this process never gave out."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[number % PROCESSES :: PROCESSES]
    for port in random.sample(own, len(own)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise AssertionError(f"no free port found in {own}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
