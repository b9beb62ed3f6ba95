"""HTTP that is late, large, false, or that asks for what is not there."""

from __future__ import annotations

import time

from support.attacks import Target, attack
from support.attacks.proxies import is_within_the_rate


@attack
def slow_head(target: Target) -> None:
    """A byte now and then, so that no single wait is long."""
    with target.raw() as raw:
        deadline = time.monotonic() + 15
        for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
            if not raw.send(bytes([byte])):
                return
            assert time.monotonic() < deadline
            time.sleep(0.1)


@attack
def slow_body(target: Target) -> None:
    with target.raw() as raw:
        raw.send(b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n")
        raw.send(b"Content-Length: 1000\r\n\r\n")
        raw.await_end()


@attack
def connection_without_a_word(target: Target) -> None:
    with target.raw() as raw:
        raw.await_end()


@attack
def websocket_without_a_word(target: Target) -> None:
    with target.raw().open() as raw:
        raw.await_end()


@attack
def answer_that_is_not_read(target: Target) -> None:
    with target.raw(receive_buffer=2048) as raw:
        for _ in range(40):
            if not raw.send(b"GET /static/vendor/socket.io.esm.min.js HTTP/1.1\r\nHost: x\r\n\r\n"):
                break
        raw.await_end()


@attack
def paths_out_of_the_folder(target: Target) -> None:
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/static/....//....//app.py",
        "/static/..%5c..%5capp.py",
        "/static//etc/passwd",
        "/static/%00/etc/passwd",
        "/../../../../etc/passwd",
        "/static/index.html%00.js",
    ):
        with target.raw() as raw:
            reply = raw.request(f"GET {path} HTTP/1.1")
            assert reply.status in (308, 400, 404), (path, reply.status)
            assert b"import" not in reply.body
            assert b"root:" not in reply.body


@attack
def head_that_is_too_large(target: Target) -> None:
    for line, header in (
        ("GET /" + "x" * 20_000 + " HTTP/1.1", "X: y"),
        ("GET / HTTP/1.1", "X: " + "y" * 100_000),
    ):
        with target.raw() as raw:
            assert raw.request(line, header).status in (0, 400, 414, 431)
    with target.raw() as raw:
        many = [f"X-{number}: y" for number in range(5000)]
        assert raw.request("GET / HTTP/1.1", *many).status in (0, 400, 431)


@attack
def body_without_end(target: Target) -> None:
    with target.raw() as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        deadline = time.monotonic() + 8
        while raw.send(chunk):
            assert time.monotonic() < deadline, "the server takes all that is sent"
            time.sleep(0.01)


@attack
def bodies_of_false_lengths(target: Target) -> None:
    for length in ("-1", "99999999999", "0x10", "1e3", "+5", ""):
        with target.raw() as raw:
            line = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1"
            reply = raw.request(line, f"Content-Length: {length}", body=b"4")
            assert reply.status in (0, 400, 413), (length, reply.status)


@attack
def request_in_a_request(target: Target) -> None:
    """What a proxy takes for a body, a server might take for the next client's request."""
    inner = b"GET /static/app.js HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"0\r\n\r\n" + inner
    with target.raw() as raw:
        length = f"Content-Length: {len(body)}"
        line = "POST / HTTP/1.1"
        reply = raw.request(line, length, "Transfer-Encoding: chunked", body=body)
        assert reply.status in (400, 413)
        raw.await_end()


@attack
def websocket_of_the_last_century(target: Target) -> None:
    for headers in (("Sec-WebSocket-Key1: 4 2", "Sec-WebSocket-Key2: 4 2"), ()):
        with target.raw() as raw:
            line = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"
            upgrade = ("Upgrade: websocket", "Connection: Upgrade")
            assert raw.request(line, *upgrade, *headers).status in (400, 426)


@attack
def transports_that_are_not_offered(target: Target) -> None:
    for query in ("transport=flash", "transport=Polling", "transport=websocket&j=1", "sid=x"):
        with target.raw() as raw:
            reply = raw.request(f"GET /socket.io/?EIO=4&{query} HTTP/1.1")
            assert reply.status == 400


@attack
def page_of_another_origin(target: Target) -> None:
    for origin in ("https://evil.example", "null", f"http://{target.host}.evil.example"):
        with target.raw() as raw:
            assert raw.upgrade(f"Origin: {origin}").status == 400


@attack
def origin_that_a_forwarded_host_vouches_for(target: Target) -> None:
    for header in ("X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"):
        with target.raw() as raw:
            forwarded = (header, "X-Forwarded-Proto: https")
            assert raw.upgrade("Origin: https://evil.example", *forwarded).status == 400


@attack
def methods_of_all_kinds(target: Target) -> None:
    for method in ("TRACE", "CONNECT", "PUT", "DELETE", "PROPFIND", "\x00", "GET " * 20):
        with target.raw() as raw:
            assert raw.request(f"{method} / HTTP/1.1").status in (0, 400, 404, 405, 501)


@attack
def protocols_of_other_kinds(target: Target) -> None:
    for hello in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-x\r\n",
        b"\x00" * 5000,
    ):
        with target.raw() as raw:
            raw.send(hello)
            raw.await_end()


@attack
def flood_of_plain_requests(target: Target) -> None:
    begun, admitted = time.monotonic(), 0
    for _ in range(4 * int(target.bridge.settings.connects_per_second)):
        with target.raw() as raw:
            admitted += raw.request("GET /healthz HTTP/1.1", "Connection: close").status == 200
    assert is_within_the_rate(target, admitted, begun)
