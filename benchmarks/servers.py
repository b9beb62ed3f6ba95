"""The servers that are measured beside each other: ours, the plain recipe, and Node's."""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from node_packages import Missing, need, packages  # noqa: E402
from processes import HERE, Server  # noqa: E402

from support.ports import is_listening  # noqa: E402
from support.process import Process  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.stack import Stack  # noqa: E402

#: Limits are against strangers; here all clients come from one machine, all at once.
LIMITS = {
    "TASKBRIDGE_MAX_CONNECTIONS": "1000000",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    "TASKBRIDGE_CONNECTS_PER_SECOND": "1000000",
    "TASKBRIDGE_MAX_CONNECTIONS_PER_OWNER": "1000000",
    "TASKBRIDGE_OWNER_REQUESTS_PER_SECOND": "1000000",
    "TASKBRIDGE_REQUESTS_PER_SECOND": "1000000",
}
OURS, GEVENT, STOCK, NODE = "taskbridge", "taskbridge on gevent", "plain recipe", "Node"
#: Columns of ours by the library that serves them.
COLUMNS = {"eventlet": OURS, "gevent": GEVENT}
#: What ``Stack.mode`` has for each of them.
MODES = {OURS: "eventlet", GEVENT: "gevent-serve"}


def is_ours(kind: str) -> bool:
    """Whether a kind of server is taskbridge."""
    return kind in MODES


def add_async_mode(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the option ``--async-mode``.

    Args:
        parser: of a benchmark that starts our server.
        several: whether it measures a server on each of several libraries; then the default is all.
    """
    told = "library that serves ours (default %(default)s)"
    if several:
        modes = list(COLUMNS)
        parser.add_argument("--async-mode", nargs="+", choices=modes, default=modes, help=told)
    else:
        parser.add_argument("--async-mode", choices=[*COLUMNS], default="eventlet", help=told)


def new_stack(mode: str, home: Path, url: str, **variables: str) -> Stack:
    """Return a ``Stack`` with servers on eventlet or gevent."""
    stack = Stack(home, url, **variables)
    stack.mode = MODES[COLUMNS[mode]]
    return stack


def raise_file_limit() -> None:
    """Raise the limit of open files to this user's hard limit, also for processes started later."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def to_broker(kind: str) -> str:
    """Return the way of publishing that is the quickest to a kind of server."""
    return NODE if kind == NODE else "broker"


def by_call(kind: str) -> str:
    """Return the way of publishing by the call that a task makes for a kind of server."""
    return OURS if kind == GEVENT else kind


class Brokers:
    """A RabbitMQ node, and for Node's server a Redis and npm packages.

    Args:
        folder: where they keep what they write.
        modes: libraries that serve ours.
        beside: kinds that are measured beside ours.
        variables: of the environment of ours.
    """

    def __init__(
        self, folder: Path, modes: list[str], beside: tuple[str, ...], variables: dict[str, str]
    ) -> None:
        self._variables = variables
        self._rabbitmq, self._redis = RabbitMQ(folder), Redis(folder)
        self._packages: Path | None = None
        #: Kinds of servers that can be measured here.
        self.kinds = [kind for kind in map(COLUMNS.__getitem__, modes) if self._has(kind)]
        self.kinds += [kind for kind in beside if self._has(kind)]

    def _has(self, kind: str) -> bool:
        """Whether a kind can be measured; if it cannot, say why."""
        try:
            if kind == NODE:
                need("redis-server")
                self._packages = packages()
            if kind == GEVENT and not importlib.util.find_spec("gevent"):
                raise Missing("gevent is not installed")
        except Missing as error:
            sys.stderr.write(f"No column {kind!r}: {error}.\n")
            return False
        return True

    def start(self) -> None:
        """Start what the kinds need."""
        self._rabbitmq.start()
        if NODE in self.kinds:
            self._redis.start()

    def stop(self) -> None:
        """Stop all of it."""
        self._rabbitmq.stop()
        self._redis.stop()

    def stack(self, folder: Path, kind: str, **variables: str) -> Stack:
        """Return a stack on a broker without messages, for a server of a kind."""
        url = self._redis.url if kind == NODE else self._rabbitmq.new_vhost()
        stack = Stack(folder, url, **{**LIMITS, **variables, **self._variables})
        stack.mode = MODES.get(kind, stack.mode)
        return stack

    def start_server(self, stack: Stack, kind: str, *, crowded: bool = False) -> Server:
        """Start a server of a kind, and wait until it listens.

        Args:
            stack: whose port and broker it has.
            kind: of server.
            crowded: whether so many clients wait for it that it may not answer at once.
        """
        if is_ours(kind):
            return Server(_started(stack) if crowded else stack.start_server())
        settings = stack.settings
        port = str(stack.port)
        if kind == NODE:
            script = (need("node"), str(HERE / "node_server.mjs"), str(self._packages))
            process = stack.start("node", *script, settings.events, port)
        else:
            script = (sys.executable, str(HERE / "stock_server.py"))
            process = stack.start("stock", *script, settings.events, settings.channel, port)
        process.await_output("serving on")
        return Server(process)


def _started(stack: Stack) -> Process:
    """Return a process of ours that listens, without a request for its health."""
    process = stack.start("server", *stack.server_command())
    process.until(lambda: is_listening(stack.port), 30, "the first connection")
    return process


@contextmanager
def brokers(
    modes: list[str], beside: tuple[str, ...], variables: dict[str, str]
) -> Iterator[Brokers]:
    """Yield running brokers; for the arguments see ``Brokers``."""
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        made = Brokers(Path(folder), modes, beside, variables)
        try:
            made.start()
            yield made
        finally:
            made.stop()


#: Takes brokers and a kind of server; returns figures.
Measure = Callable[[Brokers, str], dict[str, float]]
