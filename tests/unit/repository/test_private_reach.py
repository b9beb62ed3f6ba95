"""Private parts of libraries that no other test uses; the table that names the test of each.

Each test fails when the library renames the part, or does not use it any more.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import multiprocessing.util
import re
import signal
import socket
import ssl
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import billiard.common
import celery
import engineio
import pytest
import socketio
import tqdm
import websocket
from celery.worker.request import Request
from engineio import packet
from engineio import socket as eio_socket
from engineio.async_drivers import _websocket_wsgi
from kombu import Connection as KombuConnection
from kombu import pidbox

from bridge.bus.connection import Connection, Pool
from bridge.client.socket_client import SocketClient
from bridge.reporting.progress import Bar
from socket_server.bus.kombu_manager import KombuJobsManager
from socket_server.bus.task_broker import _Mailbox
from socket_server.concurrency.patching import hub_of
from socket_server.concurrency.websocket import WebSocket
from socket_server.connection.guarded_server import GuardedServer
from socket_server.connection.nonblocking_websocket import NonBlockingWebSocket
from support.lone_server import LoneClient, new_lone_server

ROOT = Path(__file__).resolve().parents[3]
TABLE = (ROOT / "docs" / "private-reach.md").read_text()

on_eventlet = pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")


def test_every_test_that_the_table_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)?::(test_\w+)`", TABLE)
    file = ""
    for path, test in named:
        file = path or file  # a name without a file is of the file before
        functions = ast.walk(ast.parse((ROOT / file).read_text()))
        assert test in {one.name for one in functions if isinstance(one, ast.FunctionDef)}, file
    assert len(named) > 50


# python-socketio


class Recording:
    """A state lock that notes which calls are made with it released."""

    def __init__(self):
        self.outside_of = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def outside(self, call, *arguments):
        self.outside_of.append(arguments[:2])
        return call(*arguments)


@pytest.fixture
def server():
    server = new_lone_server()
    server.sio.namespaces = ["/jobs", "/own"]
    server.sio.on("connect", lambda *_: None, namespace="/own")
    return server


@pytest.fixture
def client(server):
    return LoneClient(server)


@pytest.mark.parametrize(("ours", "lines"), [(True, 0), (False, 1)])
def test_an_acknowledgement_that_was_not_asked_for_is_logged_by_python_socketio_alone(
    server, client, caplog, monkeypatch, ours, lines
):
    if not ours:
        monkeypatch.setattr(GuardedServer, "_handle_ack", socketio.Server._handle_ack)
    client.say("3/jobs,5[]")
    assert caplog.text.count("Unknown callback") == lines


def test_an_applications_handler_runs_without_the_state_lock(server, client):
    server.sio.state_lock = Recording()
    client.say("0/own,")
    assert ("connect", "/own") in server.sio.state_lock.outside_of


def test_an_unfinished_binary_message_is_forgotten_with_its_client(server, client):
    server.sio.state_lock = Recording()
    client.say("0/own,")
    client.say('51-/own,["x",{"_placeholder":true,"num":0}]')
    assert list(server.sio._binary_packet) == [client.sid]
    client.pipe.close()
    assert server.sio._binary_packet == {}


def test_a_server_that_listens_from_its_start_does_not_begin_to_listen_again(server):
    server.sio.manager.initialize = Mock()
    assert server.sio.manager_initialized  # new_lone_server sets it, as SocketServer.start does
    LoneClient(server)
    server.sio.manager.initialize.assert_not_called()
    server.sio.manager_initialized = False
    LoneClient(server)
    server.sio.manager.initialize.assert_called_once_with()


def test_python_socketio_publishes_by_the_function_that_is_overridden():
    assert "self._producer_publish(" in inspect.getsource(socketio.KombuManager._publish)
    assert KombuJobsManager._producer_publish is not socketio.KombuManager._producer_publish


# python-engineio


@pytest.fixture
def connection():
    """The connection of a client program."""
    return SocketClient().eio


def test_a_client_handles_each_message_on_the_thread_that_reads(connection):
    threads = []
    connection.on("message", lambda _: threads.append(threading.current_thread()))
    connection._receive_packet(packet.Packet(packet.MESSAGE, data="x"))
    assert threads == [threading.current_thread()]


def test_a_client_reads_by_the_method_that_closes_the_socket(connection):
    assert "self._read_loop_websocket" in inspect.getsource(engineio.Client._connect_websocket)
    assert "_read_loop_websocket" in vars(type(connection))
    assert "self.ws = ws" in inspect.getsource(engineio.Client._connect_websocket)
    assert callable(websocket.WebSocket.shutdown)


def test_an_asyncio_client_handles_events_and_answers_in_their_order():
    async def main():
        client, told = socketio.AsyncClient(handle_sigint=False), []
        client.on("job", told.append, namespace="/jobs")
        for number in range(50):
            answer = client._generate_ack_id("/jobs", told.append)
            for text in (f'2/jobs,["job",{number}]', f"3/jobs,{answer}[{number}]"):
                await client.eio._receive_packet(packet.Packet(packet.MESSAGE, data=text))
        while len(told) < 100:
            await asyncio.sleep(0)
        return told

    assert asyncio.run(main()) == [number for number in range(50) for _ in range(2)]


def test_a_servers_socket_has_the_attributes_that_are_read():
    names = vars(eio_socket.Socket(engineio.Server(async_mode="threading"), "sid"))
    assert names.keys() >= {"queue", "closed", "upgrading", "upgraded"}


def test_a_session_whose_websocket_goes_on_stays_when_its_request_has_ended():
    connecting = inspect.getsource(engineio.Server._handle_connect)
    assert "if s.closed and sid in self.sockets:" in connecting
    handling = inspect.getsource(engineio.Server.handle_request)
    assert "self.sockets[sid].closed:" in handling


def test_options_of_simple_websocket_are_those_of_the_driver():
    driver = _websocket_wsgi.SimpleWebSocketWSGI(print, None)
    assert driver.server_args == {}
    assert "**self.server_args" in inspect.getsource(_websocket_wsgi)


# eventlet


@on_eventlet
def test_a_socket_of_eventlet_that_is_not_encrypted_can_be_written_to_directly():
    from eventlet.greenio import GreenSocket

    hub = hub_of("eventlet")
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with near, context.wrap_socket(far, do_handshake_on_connect=False, server_hostname="x") as tls:
        assert NonBlockingWebSocket.of(WebSocket(GreenSocket(near)), hub, print) is not None
        encrypted = WebSocket(SimpleNamespace(fd=tls))
        assert NonBlockingWebSocket.of(encrypted, hub, print) is None


@on_eventlet
def test_an_eventlet_queue_has_the_attributes_that_are_set():
    import eventlet.queue

    assert {"getters", "putters"} <= vars(eventlet.queue.Queue()).keys()


@on_eventlet
def test_eventlets_http_server_uses_what_is_overridden():
    import eventlet.wsgi

    protocol = eventlet.wsgi.HttpProtocol
    source = inspect.getsource(protocol)
    for used in ("if self.close_connection:", "self.headers", "self.get_environ()"):
        assert used in source, used
    assert "env['headers_raw'] = " in inspect.getsource(protocol.get_environ)
    # The size of the buffers of a connection; see socketserver.StreamRequestHandler.
    assert {"rbufsize", "wbufsize"} <= set(dir(protocol))
    serving = inspect.getsource(eventlet.wsgi.server)
    # What a WebSocket that goes on is kept from: the end of its request closes the connection.
    for used in ("pool.spawn(", "[client_addr, client_socket, STATE_IDLE]", "conn[1].close()"):
        assert used in serving, used
    assert "self.connection.close()" in inspect.getsource(protocol.finish)
    assert "self.conn_state" in inspect.getsource(protocol.__init__)
    assert "if WSGI_LOCAL.already_handled:" in source
    assert "self.connection = self.request" in source


# gevent


def test_a_socket_of_gevent_that_is_not_encrypted_can_be_written_to_directly():
    from gevent import socket as green
    from gevent import ssl as green_ssl

    hub = hub_of("gevent")
    near, far = green.socketpair()
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with near, context.wrap_socket(far, do_handshake_on_connect=False, server_hostname="x") as tls:
        assert NonBlockingWebSocket.of(WebSocket(near), hub, print) is not None
        assert not hub.plain(near).getblocking()
        assert NonBlockingWebSocket.of(WebSocket(tls), hub, print) is None


def test_gevents_http_server_uses_what_is_overridden():
    from gevent import pywsgi

    source = inspect.getsource(pywsgi)
    for used in (
        "self.wsgi_input._discard()",
        "if self.close_connection:",
        "return self._handle_client_error(ex)",
        "self._log_error(t, v, tb)",
        "self.log_request()",
        "in self.ignored_socket_errors",
        "handler_class(sock, address, self)",
        "self.MessageClass(self.rfile, 0)",
        "return ('400', _BAD_REQUEST_RESPONSE)",
        "self.process_result()",
        "self.handle_one_response()",
        "if self.socket is not None:",
    ):
        assert used in source, used
    server = inspect.getsource(pywsgi.WSGIServer.__mro__[2])
    for used in ("args = self.do_read()", "close = self.do_close", "_start_accepting_if_started("):
        assert used in server, used
    assert pywsgi.Input(None, 0)._discard() is None


# Celery and kombu


def test_celery_notes_the_result_of_the_pool_and_that_a_task_was_revoked():
    source = inspect.getsource(Request)
    for used in ("self._apply_result = ", "if self._already_revoked:"):
        assert used in source, used


def test_celerys_control_forgets_its_producers_after_a_fork():
    mailbox = celery.Celery(broker="memory://").control.mailbox
    mailbox.producer_pool = "of the parent"
    control = SimpleNamespace(mailbox=mailbox)
    celery.app.control.Control._after_fork(control)
    assert "producer_pool" not in vars(mailbox)


def test_kombus_pool_drops_a_failed_connection_by_the_method_that_is_overridden():
    pool = Pool(Connection("memory://"), limit=1)
    failed = pool.acquire()
    failed.collect = Mock()
    pool.replace(failed)
    failed.collect.assert_called_once_with()


def test_a_kombu_connection_has_the_connection_of_its_transport():
    with KombuConnection("memory://") as connection:
        assert connection._connection is None
        assert connection.connect() is connection._connection


def test_kombus_mailbox_publishes_with_the_producer_that_is_overridden():
    assert "self.producer_or_acquire(" in inspect.getsource(pidbox.Mailbox._publish)
    assert "producer_or_acquire" in vars(_Mailbox)


# tqdm and Python


def test_tqdm_takes_the_lock_and_the_position_of_the_class_of_a_bar():
    assert Bar.get_lock() is Bar._lock is not tqdm.tqdm.get_lock()
    assert "self._get_free_pos(" in inspect.getsource(tqdm.tqdm)


def test_a_child_of_multiprocessing_calls_its_finalizers():
    called = Mock()
    finalizer = multiprocessing.util.Finalize(None, called, exitpriority=0)
    assert finalizer.still_active()
    finalizer()
    called.assert_called_once_with()
    assert "_run_finalizers(0)" in inspect.getsource(multiprocessing.util._exit_function)


def test_a_pool_process_that_gets_a_signal_exits_with_a_negative_code(monkeypatch):
    monkeypatch.setattr(billiard.common, "_should_have_exited", [False])
    monkeypatch.setattr(billiard.common, "maybe_setsignal", lambda *_: None)
    with pytest.raises(SystemExit) as exit:
        billiard.common._shutdown_cleanup(signal.SIGTERM, None)
    assert exit.value.code < 0
