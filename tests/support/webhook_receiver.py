"""What receives webhooks in tests, and verifies each with the library ``standardwebhooks``."""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from standardwebhooks.webhooks import Webhook

from support.ports import free_port

__all__ = ["SECRET", "Received", "Receiver"]

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"


class Received(NamedTuple):
    """A delivery that was received."""

    id: str
    #: What the library returned of it: its body, as JSON.
    event: dict[str, Any]
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers deliveries, while it is up.

    Args:
        secret: secret of the webhook.
    """

    def __init__(self, secret: str = SECRET) -> None:
        self._webhook, self.port = Webhook(secret), free_port()
        self._server: ThreadingHTTPServer | None = None
        #: All deliveries so far, in the order in which they came.
        self.received: list[Received] = []
        #: Statuses of the next answers; 200 without one.
        self.statuses: list[int] = []
        #: Cleared while an answer is held back.
        self.answering = threading.Event()
        self.answering.set()

    @property
    def url(self) -> str:
        """URL of the webhook."""
        return f"http://127.0.0.1:{self.port}/hooks?of=tests"

    @property
    def variables(self) -> dict[str, str]:
        """Settings of an archive that delivers to it, as the webhook ``tests``."""
        return {
            "TASKBRIDGE_WEBHOOKS": f"tests={self.url}",
            "TASKBRIDGE_WEBHOOK_SECRETS": f"tests={SECRET}",
            "TASKBRIDGE_WEBHOOK_HTTP": "1",
            "TASKBRIDGE_WEBHOOK_ALLOW": "127.0.0.0/8",
        }

    def ids(self) -> dict[str, set[str]]:
        """Return the ids of the deliveries of each job."""
        found: dict[str, set[str]] = defaultdict(set)
        for one in self.received:
            found[one.event["data"]["job"]].add(one.id)
        return dict(found)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        serve = {"target": self._server.serve_forever, "kwargs": {"poll_interval": 0.01}}
        self._thread = threading.Thread(**serve)  # type: ignore[arg-type]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self.answering.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        event = self._webhook.verify(body, headers)
        self.received.append(Received(headers["webhook-id"], event, headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        self.answering.wait(30)
        try:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
        except OSError:
            pass  # the archive was killed meanwhile
