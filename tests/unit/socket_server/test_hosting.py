"""What is refused under a web server that cannot serve clients, by its modules and requests."""

from __future__ import annotations

import json
import logging
import socket
import sys
from types import SimpleNamespace

import pytest

from bridge import Settings
from bridge.errors import SettingsError
from socket_server.hosting import NO_WEBSOCKETS, Host, check_start

GUNICORN = {"SERVER_SOFTWARE": "gunicorn/27", "gunicorn.socket": None, "wsgi.multithread": True}
POLLING = Settings(transports=("websocket", "polling"))


@pytest.fixture
def uwsgi(monkeypatch):
    """Pretend to run under uWSGI with some options."""
    return lambda **options: monkeypatch.setitem(
        sys.modules,
        "uwsgi",
        SimpleNamespace(opt={k.replace("_", "-"): v for k, v in options.items()}),
    )


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"threads": b"2"}, "threading"),
        ({"threads": b"200", "processes": b"4"}, "threading"),
        ({"gevent": b"100", "gevent_early_monkey_patch": True}, "gevent"),
    ],
    ids=str,
)
def test_uwsgi_with_threads_or_a_gevent_that_patched_in_time_may_start(uwsgi, options, mode):
    uwsgi(**options)
    check_start(mode)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "uWSGI without --threads serves one request at a time"),
        ({"threads": b"1"}, "uWSGI without --threads"),
        ({"processes": b"4"}, "uWSGI without --threads"),
        ({"gevent": b"100"}, "--gevent needs --gevent-early-monkey-patch too"),
    ],
    ids=str,
)
def test_uwsgi_with_other_options_may_not(uwsgi, options, told):
    uwsgi(**options)
    with pytest.raises(SettingsError, match=told):
        check_start("threading")


@pytest.mark.parametrize(
    ("told", "scheme"), [({}, "http"), ({"HTTPS": "on"}, "https"), ({"HTTPS": "off"}, "http")]
)
def test_the_scheme_that_a_client_makes_up_is_not_the_connection_s_under_uwsgi(uwsgi, told, scheme):
    uwsgi(threads=b"2")
    made_up = {"HTTP_X_FORWARDED_PROTO": "javascript", "wsgi.url_scheme": "javascript"}
    environ = {"wsgi.multithread": True, **made_up, **told}
    assert ask(environ, path="/")[3]["wsgi.url_scheme"] == scheme
    plain = {"wsgi.multithread": True, "wsgi.url_scheme": "https"}
    assert ask(plain, path="/")[3]["wsgi.url_scheme"] == "https"


def test_gunicorn_s_sync_worker_may_not_start_and_a_plain_process_may(monkeypatch):
    check_start("threading")
    monkeypatch.setitem(sys.modules, "gunicorn.workers.sync", SimpleNamespace())
    with pytest.raises(SettingsError, match="gunicorn's sync worker serves one request at a time"):
        check_start("threading")


def ask(environ, *, path="/socket.io/", websocket=False, mode="threading", host=None):
    """Return status, headers, body and environment of a request to a host."""
    answer = {}
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, **environ}
    environ |= {"HTTP_UPGRADE": "websocket"} if websocket else {}

    def start(status, headers):
        answer.update(status=status, headers=dict(headers))

    host = host or Host(serve, mode, POLLING)
    body = b"".join(host(environ, start))
    return answer["status"], answer["headers"], body, environ


def serve(environ, start_response):
    start_response("200 OK", [("Connection", "close"), ("X-Served", "1")])
    return [b"served"]


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        (GUNICORN, "threading"),
        (
            {"SERVER_SOFTWARE": "Werkzeug/3", "werkzeug.socket": None, "wsgi.multithread": True},
            "threading",
        ),
        ({"SERVER_SOFTWARE": "gevent/26 Python/3.11", "wsgi.multithread": False}, "gevent"),
    ],
    ids=str,
)
def test_a_web_server_that_gives_the_socket_serves_websockets(environ, mode):
    status, headers, body, _ = ask(environ, websocket=True, mode=mode)
    assert (status, body) == ("200 OK", b"served")
    assert headers == {"X-Served": "1"}  # Connection is the web server's own header


def test_one_that_does_not_is_refused_once_in_the_log_with_what_to_use(caplog):
    host = Host(serve, "threading", Settings())
    environ = {"SERVER_SOFTWARE": "waitress", "wsgi.multithread": True}
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            status, headers, body, _ = ask(environ, websocket=True, host=host)
    assert status == "501 Not Implemented"
    assert int(headers["Content-Length"]) == len(body)
    error = json.loads(body)["error"]
    assert error["message"].startswith("waitress serves no WebSockets: use gunicorn with")
    assert error["temporary"] is False
    assert len(caplog.records) == 1
    assert ask(environ, host=host)[0] == "200 OK"  # long polling
    assert ask(environ, host=host, path="/")[3][NO_WEBSOCKETS] == error["message"]


def test_where_long_polling_is_offered_it_is_named():
    environ = {"wsgi.multithread": True}
    _, _, body, _ = ask(environ, websocket=True)
    message = json.loads(body)["error"]["message"]
    assert message.startswith("this web server serves no WebSockets")
    assert "long polling" in message


def test_an_event_stream_needs_no_socket_and_more_than_one_request_at_a_time():
    environ = {"SERVER_SOFTWARE": "waitress", "wsgi.multithread": True}
    assert ask(environ, path="/api/jobs/j/events")[0] == "200 OK"
    status, _, body, _ = ask({**environ, "wsgi.multithread": False}, path="/api/jobs/j/events")
    assert status == "501 Not Implemented"
    assert "one request at a time" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("websocket", [True, False])
def test_one_request_at_a_time_is_too_few_for_any_client(websocket):
    environ = {**GUNICORN, "wsgi.multithread": False}
    status, _, body, _ = ask(environ, websocket=websocket)
    assert status == "501 Not Implemented"
    assert b"gunicorn/27 serves one request at a time" in body
    assert ask(environ, path="/")[2] == b"served"
    assert ask(GUNICORN, path="/")[3][NO_WEBSOCKETS] is None


def test_an_event_stream_over_uwsgi_ends_once_its_client_acknowledges_nothing(uwsgi):
    uwsgi(threads=b"2")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        with client, connection:
            sys.modules["uwsgi"].connection_fd = connection.fileno
            assert ask({"wsgi.multithread": True}, path="/api/jobs/j/events")[0] == "200 OK"
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
