"""Requests that a proxy and a server might read differently."""

from __future__ import annotations

import time
from contextlib import ExitStack

from support.attacks import Target, attack

HIDDEN = b"GET /static/app.js HTTP/1.1\r\nHost: x\r\n\r\n"
#: Of a connection that was ended without a word, and of refusals.
REFUSED = (0, 400, 404, 405, 408, 411, 413, 414, 417, 421, 426, 431, 501, 505)


def sent(target: Target, data: bytes, *statuses: int) -> bytes:
    """Send bytes, assert that the first answer has one of the statuses, and return its body."""
    with target.raw() as raw:
        raw.send(data)
        reply = raw.reply()
    assert reply.status in (statuses or REFUSED), (data[:100], reply.status)
    assert b"Traceback" not in reply.body
    assert "set-cookie" not in reply.headers
    assert "evil.example" not in reply.headers.get("location", "")
    return reply.body


@attack
def lengths_that_disagree(target: Target) -> None:
    for first, second in ((0, len(HIDDEN)), (len(HIDDEN), 0), ("0, 5", 0)):
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {first}\r\n"
        sent(target, f"{head}Content-Length: {second}\r\n\r\n".encode() + HIDDEN)


@attack
def codings_in_disguise(target: Target) -> None:
    """A body in chunks for one reader, and none for another."""
    for header in (
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: gzip",
    ):
        head = f"POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
        sent(target, head.encode() + b"0\r\n\r\n" + HIDDEN)


@attack
def chunks_of_false_sizes(target: Target) -> None:
    for size in ("FFFFFFFFFFFFFFFF", "-1", "0x10", "1e9", "5;" + "x" * 9000, "", "\u0665"):
        head = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n"
        chunk = f"Transfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n"
        sent(target, (head + chunk).encode())


@attack
def headers_that_are_folded(target: Target) -> None:
    for folded in (
        "X: a\r\n Content-Length: 41",
        "\r\n X: a",
        "X: a\r\n\tTransfer-Encoding: chunked",
    ):
        head = f"GET /healthz HTTP/1.1\r\nHost: x\r\n{folded}\r\n\r\n"
        sent(target, head.encode() + HIDDEN, 200, *REFUSED)


@attack
def line_ends_of_other_systems(target: Target) -> None:
    for end in ("\n", "\r", "\r\r\n", "\n\r"):
        head = end.join(("GET /api/page HTTP/1.1", "Host: x", "", ""))
        with target.raw() as raw:
            raw.send(head.encode() + b"\r\n\r\n")
            assert raw.reply().status in (401, *REFUSED)


@attack
def requests_in_a_row(target: Target) -> None:
    """All at once on one connection: so many are answered, and then the connection ends."""
    most = 3 * int(target.bridge.settings.connects_per_second)
    with target.raw() as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * most)
        statuses = []
        while (status := raw.reply().status) in (200, 503):
            statuses.append(status)
    assert len(statuses) < most


@attack
def request_behind_a_websocket(target: Target) -> None:
    """What follows the request for a WebSocket is frames, whatever it looks like."""
    with target.raw() as raw:
        reply = raw.upgrade("X-A: b", behind=HIDDEN)
        assert reply.status in (101, 400)
        raw.await_end()


@attack
def hosts_of_all_kinds(target: Target) -> None:
    for hosts in (
        "",
        "Host: x\r\nHost: y\r\n",
        "Host: evil@x\r\n",
        "Host: x/../y\r\n",
        "Host: " + "x" * 6000 + "\r\n",
        "Host: [::1\r\n",
        "Host: x:99999999\r\n",
        "Host: \xff\xfe\r\n",
    ):
        head = f"GET /api/page HTTP/1.1\r\n{hosts}\r\n"
        sent(target, head.encode("latin-1"), 401, *REFUSED)


@attack
def targets_of_all_kinds(target: Target) -> None:
    for path in (
        "http://evil.example/api/page",
        "//evil.example/api/page",
        "*",
        "?",
        "evil.example:443",
        "api/page",
        "/api/page#fragment",
        "/api/page /api/page",
        "http://[::1",
        "https:///",
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"
        sent(target, head.encode(), 200, 308, 401, *REFUSED)


@attack
def versions_of_all_kinds(target: Target) -> None:
    for line in (
        "GET /api/page",
        "PRI * HTTP/2.0",
        "GET /api/page HTTP/9.9",
        "GET /api/page HTTP/-1",
        "GET /api/page HTTP/1.1x",
        "GET /api/page HTTP/1.1.1",
        "GET /api/page http/1.1",
        "GET /api/page HTTP/1.99999999999999999999",
    ):
        sent(target, f"{line}\r\nHost: x\r\n\r\nSM\r\n\r\n".encode(), 401, *REFUSED)


@attack
def body_that_waits_to_be_asked_for(target: Target) -> None:
    line = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1"
    with ExitStack() as stack:
        for expected in ("100-continue", "200-ok", "100-continue, 100-continue"):
            raw = stack.enter_context(target.raw())
            raw.request_head(line, "Content-Length: 1000", f"Expect: {expected}")
            stack.callback(raw.await_end)


@attack
def upgrades_to_other_protocols(target: Target) -> None:
    for protocol in ("h2c", "TLS/1.0", "websocket, h2c", "WebSocket/99", "\x7f"):
        with target.raw() as raw:
            line = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"
            upgrade = (f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings")
            assert raw.request(line, *upgrade, "HTTP2-Settings: AAMAAABk").status in REFUSED


@attack
def websocket_with_a_body(target: Target) -> None:
    """What says that it stays for long has no more time to send a body than anybody else."""
    line = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1"
    with target.raw() as raw:
        raw.request_head(
            line,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Content-Length: 60000",
        )
        deadline = time.monotonic() + 8
        while raw.send(b"x"):  # so that no single wait is long
            assert time.monotonic() < deadline, "the server waits for the body without an end"
            time.sleep(0.1)


@attack
def body_of_a_request_that_has_none(target: Target) -> None:
    with target.raw() as raw:
        raw.request_head("GET /healthz HTTP/1.1", "Content-Length: 60000")
        raw.await_end()


@attack
def websocket_keys_of_all_kinds(target: Target) -> None:
    for headers in (
        ("Sec-WebSocket-Version: 0", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Version: 13, 8", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Version: \xb2", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Version: 13",),
    ):
        with target.raw() as raw:
            line = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"
            upgrade = ("Upgrade: websocket", "Connection: Upgrade")
            assert raw.request(line, *upgrade, *headers).status in REFUSED


@attack
def subprotocols_without_end(target: Target) -> None:
    with target.raw() as raw:
        names = ", ".join(f"p{number}" for number in range(1000))
        reply = raw.upgrade(f"Sec-WebSocket-Protocol: {names}")
        assert reply.status in (101, *REFUSED)
        assert "sec-websocket-protocol" not in reply.headers


@attack
def controls_in_headers(target: Target) -> None:
    for header in (
        "X: a\x00b",
        "X\x00: b",
        "X: \x01\x02",
        "\x80: b",
        ": b",
        "X",
        "X: a\rSet-Cookie: b",
    ):
        head = f"GET /api/page HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
        sent(target, head.encode("latin-1"), 401, *REFUSED)


@attack
def split_answers(target: Target) -> None:
    """Line ends in what an answer might repeat: a redirect, an origin."""
    for path in ("/static//%0d%0aSet-Cookie:a=b", "/%0d%0aSet-Cookie:a=b", "//%5cevil.example/.."):
        with target.raw() as raw:
            reply = raw.request(f"GET {path} HTTP/1.1", "Origin: https://x%0d%0aSet-Cookie:a")
            assert reply.status in (308, *REFUSED)
            assert "set-cookie" not in reply.headers
            assert "evil.example" not in reply.headers.get("location", "").partition("?")[0][:30]


@attack
def ranges_without_end(target: Target) -> None:
    ranges = ",".join("0-" for _ in range(1300))
    with target.raw() as raw:
        whole = len(raw.request("GET /static/client.js HTTP/1.1").body)
        reply = raw.request("GET /static/client.js HTTP/1.1", f"Range: bytes={ranges}")
        assert reply.status in (200, 206, 416, *REFUSED)
        assert len(reply.body) <= whole


@attack
def conditions_that_are_none(target: Target) -> None:
    for header in (
        "If-Modified-Since: the day before",
        "If-Modified-Since: Thu, 99 Foo 99999 99:99:99 GMT",
        'If-None-Match: "' + "x" * 6000,
        "If-Range: \xff",
        "Range: bytes=9999999999999999999999-",
        "Range: bytes=-0",
        "Accept-Encoding: " + "gzip;q=9," * 500,
        "Cookie: " + "a=b; " * 1200,
        "Content-Type: multipart/form-data",
    ):
        head = f"GET /static/client.js HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
        sent(target, head.encode("latin-1"), 200, 304, 416, *REFUSED)


@attack
def escapes_that_are_none(target: Target) -> None:
    for path in ("%zz", "%u0041", "%", "%c0%ae%c0%ae/app.py", "%ff", "%f0%9f%a6%8a", "\xff", "%00"):
        for folder in ("/", "/static/", "/api/jobs/"):
            head = f"GET {folder}{path} HTTP/1.1\r\nHost: x\r\n\r\n"
            sent(target, head.encode("latin-1"), 401, *REFUSED)


@attack
def queries_without_end(target: Target) -> None:
    for query in ("a=1&" * 1900, "EIO=4&" * 1300, "transport=websocket&transport=x", "sid[]=a"):
        head = f"GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\n\r\n"
        sent(target, head.encode())


@attack
def folders_of_files(target: Target) -> None:
    for path in ("/static/", "/static", "/static/.", "/static/vendor/", "/static/vendor", "/api/"):
        sent(target, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 404)


@attack
def methods_in_headers(target: Target) -> None:
    for header in (
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: PUT",
        "X-Original-URL: /x",
    ):
        with target.raw() as raw:
            assert raw.request("GET /api/page HTTP/1.1", header).status == 401
