"""Brokers, stacks and browsers that tests share."""

from __future__ import annotations

import os
import signal
import urllib.parse
from pathlib import Path

import engineio
import pytest
import socketio
from hypothesis import settings

from bridge.client.socket_client import _InOrder
from support import frames
from support.process import QUOTED
from support.rabbitmq import RabbitMQ
from support.redis import Redis
from support.service import RabbitMQService
from support.stack import Stack
from support.tools import find, need
from support.topology import Topology

#: As root, without a GPU and without a word to the network.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

#: Milliseconds that a page may take to show what a test expects of it, on a busy machine.
SOON = 30_000


def pytest_configure():
    """Let fixtures end their processes when SIGTERM ends pytest, as ``timeout`` does."""
    # A shell ignores it for what it runs in the background, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", 143))


def _close_what_was_reset(read=engineio.Client._read_loop_websocket):
    """Let python-engineio's clients close a connection that was reset.

    They forget it with its socket open; the warning of that would fail any test that comes later.
    """

    def read_and_close(client):
        connection = client.ws
        try:
            read(client)
        finally:
            connection.shutdown()

    engineio.Client._read_loop_websocket = read_and_close


class _OrderedClient(socketio.Client):
    """A client that receives events in order; python-engineio gives each a thread of its own."""

    def _engineio_client_class(self):
        return _InOrder


_close_what_was_reset()
socketio.SimpleClient.client_class = _OrderedClient
frames.install()


#: Folders of tests, those that take longest first.
FOLDERS = ("chaos", "browser", "acceptance", "integration", "unit")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that all processes of pytest-xdist end together.

    Each of them runs whole files (``--dist loadfile``): what a file's tests share is made once.
    """
    items[:] = [
        item for item in items if item.path.name not in ON_RABBITMQ or "[embed" not in item.name
    ]
    items.sort(key=lambda item: FOLDERS.index(_folder(item)))


def _folder(item):
    return item.path.relative_to(Path(__file__).parent).parts[0]


#: Files of tests of what a client does with events, or may ask for, whatever broker there is.
ON_RABBITMQ = (
    "test_accessibility.py",
    "test_client_recovery.py",
    "test_command_line.py",
    "test_frameworks.py",
    "test_known_recipes.py",
    "test_other_versions.py",
    "test_page.py",
    "test_push.py",
    "test_refusals.py",
    "test_secrets.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show with a failure what the processes of its stacks last said, and their tracebacks."""
    report = yield
    if report.when == "call" and report.failed:
        for process in _processes(getattr(item, "funcargs", {}).values()):
            report.sections.append((f"end of {process.log.name}", process.output[-QUOTED:]))
            report.sections.append((f"tracebacks of {process.log.name}", process.tracebacks()))
    return report


def _processes(fixtures):
    for fixture in fixtures:
        several = fixture if isinstance(fixture, tuple) else [fixture]
        for stack in getattr(fixture, "stacks", several):
            if isinstance(stack, Stack):
                yield from stack.processes


@pytest.fixture(autouse=True)
def _environment_stays_as_it_was():
    """Fail a test that leaves variables behind, which programs of later tests would read."""
    before = _variables()
    yield
    after = _variables()
    changed = {name for name, _ in before.items() ^ after.items()}
    for name in changed:
        os.environ.pop(name, None)
        os.environ.update({name: before[name]} if name in before else {})
    assert not changed, {name: after.get(name) for name in changed}


def _variables():
    # A worker leaves one for its children, beside which pytest has one of its own.
    passing = ("PYTEST_CURRENT_TEST", "_TASKBRIDGE_CANCELLED")
    return {name: value for name, value in os.environ.items() if name not in passing}


@pytest.fixture(autouse=True)
def _frames_are_as_the_schema_says(request):
    """Fail a test with a frame between a client and a server that the protocol's schema lacks."""
    frames.FLAWS.clear()
    yield
    # Unit tests have servers of their own making.
    if _folder(request.node) != "unit":
        assert frames.FLAWS == []


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """A RabbitMQ node for the whole session; with TEST_RABBITMQ_API, one that is there."""
    if api := os.environ.get("TEST_RABBITMQ_API"):
        yield RabbitMQService(api)
        return
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A RabbitMQ node of a module's own, which is killed, frozen or alarmed."""
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory):
    """Login and address of a PostgreSQL server for the whole session, without scheme and name."""
    topology = Topology()
    try:
        topology.start_postgresql()
        password = (topology.secrets / "postgresql").read_text()
        yield f"taskbridge:{password}@{topology.ip['postgresql']}"
    finally:
        topology.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A Redis server for the whole session."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["embedded", "rabbitmq"])
def broker(request):
    """URL of each broker in turn; None is the embedded one."""
    if request.param == "embedded":
        return None
    # A virtual host of its own, so that no test which uses the node finds this one's queues.
    return request.getfixturevalue("rabbitmq").new_vhost()


@pytest.fixture(scope="session")
def stacks(request, tmp_path_factory):
    """Return the stack of a kind of broker; each has a server and a worker, and is made once."""
    made = {}

    def stack_on(broker):
        if broker not in made:
            node = request.getfixturevalue("rabbitmq") if broker == "rabbitmq" else None
            made[broker] = Stack(tmp_path_factory.mktemp("stack"), node and node.new_vhost())
            made[broker].start_server()
            made[broker].start_worker()
        return made[broker]

    yield stack_on
    for stack in made.values():
        stack.stop()


@pytest.fixture(scope="session", params=["embedded", "rabbitmq"])
def stack(request, stacks):
    """A server and a worker on each broker in turn."""
    return stacks(request.param)


@pytest.fixture
def new_stack(tmp_path):
    """Make stacks of a test's own; all are ended with it."""
    stacks = []

    def new(broker_url=None, **variables):
        stacks.append(Stack(tmp_path / f"stack-{len(stacks)}", broker_url, **variables))
        return stacks[-1]

    new.stacks = stacks
    yield new
    for stack in stacks:
        stack.stop()


@pytest.fixture(scope="session")
def chromium():
    """Path of Chromium, if possible without its windows, which take half of its CPU."""
    return find("chromium-headless-shell") or need("chromium")


@pytest.fixture(scope="module")
def browser(chromium):
    """A real Chromium without a window.

    Not for the whole session: while it is open, no other test could run an asyncio loop.
    """
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=SOON)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        frames.check_browser(browser)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """An empty page; the test fails if the page's scripts do."""
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: _note(message, errors))
    if code := os.environ.get("OLD_CLIENT"):
        _serve_other_client(page, Path(code, "socket_server", "web", "static"))
    yield page
    context.close()
    assert errors == []


def _serve_other_client(page, static):
    """Let a page have the client of another version, whichever server it talks to.

    The page itself is the server's: one that is answered here may not open WebSockets.
    """

    def answer(route):
        name = urllib.parse.urlsplit(route.request.url).path.removeprefix("/static/")
        file = static / name
        route.fulfill(path=file) if file.exists() else route.continue_()

    page.route(lambda url: urllib.parse.urlsplit(url).path.startswith("/static/"), answer)


def _note(message, errors):
    # The browser reports a refused or cut connection itself; that is what some tests cause. While
    # there is none, a client asks the server whether it lets its origin in.
    asked = message.location.get("url", "").partition("?")[0].endswith("/api/origin")
    streamed = message.location.get("url", "").endswith("/events")
    if message.type == "error" and "WebSocket" not in message.text and not (asked or streamed):
        errors.append(message.text)
