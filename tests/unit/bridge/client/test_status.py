"""What a service is told about a job that has no result yet."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bridge import Bridge, Settings
from bridge.errors import JobNotFound, ServerUnavailable
from support.ports import free_port


@pytest.fixture
def server():
    """A server that answers each request with its ``code``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.code)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def bridge_to(port):
    return Bridge(
        settings=Settings(
            url=f"http://127.0.0.1:{port}", secret=("x" * 32,), broker_url="memory://",
            result_url="disabled://",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "error"),
    [(404, JobNotFound), *((code, ServerUnavailable) for code in (401, 421, 429, 500, 503))],
)
def test_a_job_is_missing_only_where_the_server_says_so(server, code, error):
    server.code = code
    with pytest.raises(error, match="j"):
        bridge_to(server.server_port).status("j")


def test_a_server_that_is_away_is_no_word_about_a_job():
    with pytest.raises(ServerUnavailable, match=r"the server at http://127\.0\.0\.1:\d+ does not"):
        bridge_to(free_port()).status("j")
