"""HAProxy with the files under compose/, but without TLS, before one server."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request

from support.ports import free_port
from support.process import ROOT, Process
from support.stack import Stack
from support.tools import need
from support.wait import until

__all__ = ["start_balancer"]

FILES = ROOT / "compose" / "haproxy"
WITH_TLS = re.compile(r'^    bind "\$\{HTTPS-[^\n]*$', re.MULTILINE)


def start_balancer(stack: Stack) -> int:
    """Start it before the server of a stack, which has a port of health; return its port."""
    text, port = (FILES / "haproxy.cfg").read_text(), free_port()
    text, count = WITH_TLS.subn(f"    bind 127.0.0.1:{port}", text)
    assert count == 1, "haproxy.cfg has another line that binds with TLS"
    configuration = stack.home / "haproxy.cfg"
    configuration.write_text(text.replace("X-Forwarded-Proto https", "X-Forwarded-Proto http"))
    server = f"127.0.0.1:{stack.port}"
    variables = {
        "HTTP": f"127.0.0.1:{free_port()}",
        "STATS": f"127.0.0.1:{free_port()}",
        "MAX_CONNECTIONS": "2000",
        "HEALTH_PORT": stack.env["TASKBRIDGE_HEALTH_PORT"],
        "SERVER_1": server,
        "SERVER_2": server,
    }
    files = ["-f", str(configuration), "-f", str(FILES / "backends" / "1-shard.cfg")]
    argv = [need("haproxy"), "-W", "-db", *files]
    stack.processes.append(
        Process(argv, stack.home / "haproxy.log", {**os.environ, **variables}, name="haproxy")
    )
    until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), 20, "a server behind HAProxy")
    return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
