"""One attempt to deliver: to the address that was checked, and in bounded time whatever answers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from ipaddress import ip_network

import pytest

from socket_server.archive.webhooks import attempt
from socket_server.archive.webhooks.attempt import Answer, Unreachable, post
from support.certificates import Authority
from support.ports import free_port

LOOPBACK = [ip_network("127.0.0.0/8")]
BODY = b'{"type": "job.succeeded"}'
#: Seconds of an attempt in these tests, and seconds that it may take with all else.
PATIENCE, BOUND = 0.5, 3.0


class Peer:
    """A server of one connection, that does with it what a test says."""

    def __init__(self, act, tls=None):
        self._act, self._tls = act, tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.received, self.names, self.connections = b"", [], 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                with contextlib.suppress(OSError), self._wrapped(connection) as connection:
                    self._act(self, connection)

    def _wrapped(self, connection):
        if self._tls is None:
            return connection
        self._tls.sni_callback = lambda _, name, __: self.names.append(name)
        with connection:
            return self._tls.wrap_socket(connection, server_side=True)

    def read(self, connection):
        """Read a request with its body."""
        received = b""
        while BODY not in received and (some := connection.recv(65536)):
            received += some
        self.received = received or self.received

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        socket.create_connection(("127.0.0.1", self.port)).close()  # ends a wait for the next one
        self._socket.close()


def answering(text):
    def act(peer, connection):
        peer.read(connection)
        connection.sendall(text)

    return act


def send(url, allowed=LOOPBACK, patience=PATIENCE):
    return post(url, {"webhook-id": "msg_1"}, BODY, allowed, patience)


def refusal(url, allowed=LOOPBACK, patience=PATIENCE):
    begun = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        send(url, allowed, patience)
    assert time.monotonic() - begun < BOUND
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, None)),
        (b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Answer(503, "7")),
        (b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\n\r\n", Answer(302, None)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Answer(200, None)),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000, Answer(200, None)),
    ],
    ids=["204", "503", "302", "100", "10 MB"],
)
def test_an_answer_is_its_status_and_no_redirect_is_followed_and_no_body_read(text, answer):
    with Peer(answering(text)) as peer:
        assert send(f"http://127.0.0.1:{peer.port}/a/b?c=%2C") == answer
        assert peer.connections == 1
    head, _, body = peer.received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a/b?c=%2C HTTP/1.1"
    assert {f"Host: 127.0.0.1:{peer.port}", "webhook-id: msg_1", "Content-Length: 25"} <= set(lines)
    assert body == BODY


def byte_by_byte(peer, connection):
    for _ in range(10_000):
        connection.sendall(b"H")
        time.sleep(0.01)


def without_end(peer, connection):
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "act",
    [byte_by_byte, without_end, lambda peer, connection: connection.recv(1) and time.sleep(BOUND)],
    ids=["byte by byte", "100 without end", "silent"],
)
def test_an_endpoint_that_hangs_or_answers_slowly_takes_no_longer_than_its_time(
    act, tls, authority, trusted
):
    context = server_context(authority) if tls else None
    with Peer(act, context) as peer:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{peer.port}/"
        assert refusal(url) == f"no answer within {PATIENCE:g} s"


def test_a_handshake_that_hangs_takes_no_longer_than_its_time(trusted):
    with Peer(lambda peer, connection: time.sleep(BOUND)) as peer:
        assert refusal(f"https://127.0.0.1:{peer.port}/") == f"no answer within {PATIENCE:g} s"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-x\r\n", "what answers does not speak HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "(HTTPException)"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000, "(LineTooLong)"),
    ],
    ids=["nothing", "ssh", "headers", "long"],
)
def test_what_is_no_answer_is_named(text, reason):
    with Peer(answering(text)) as peer:
        assert reason in refusal(f"http://127.0.0.1:{peer.port}/")


def test_what_does_not_listen_or_has_no_name_is_named():
    assert refusal(f"http://127.0.0.1:{free_port()}/") == "Connection refused"
    assert refusal("http://no-such-host.invalid/") == "its name cannot be resolved"
    assert refusal(f"http://{'a' * 64}.example/") == "its name cannot be resolved"


@pytest.fixture
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority, monkeypatch):
    """Let attempts trust the tests' authority, as the variable of OpenSSL does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    attempt._context.cache_clear()
    yield
    attempt._context.cache_clear()


def server_context(authority, *hosts):
    certificate = authority.sign("server", *(hosts or ("IP:127.0.0.1",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


@pytest.fixture
def resolved(monkeypatch):
    """Let names have addresses, a list of them for each time that they are resolved."""
    real, names, asked = socket.getaddrinfo, {}, []

    def resolve(host, port, *args, **options):
        if host not in names:
            assert host.replace(".", "").isdigit(), host
            return real(host, port, *args, **options)
        asked.append(host)
        answers = names[host].pop(0)
        return [one for text in answers for one in real(text, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names, asked


def test_the_address_is_pinned_and_the_certificate_is_that_of_the_name(
    resolved, authority, trusted
):
    names, asked = resolved
    names["hooks.example"] = [["127.0.0.1"], ["127.0.0.1"]]
    names["other.example"] = [["127.0.0.1"]]
    context = server_context(authority, "DNS:hooks.example")
    with Peer(answering(b"HTTP/1.1 200 OK\r\n\r\n"), context) as peer:
        assert send(f"https://hooks.example:{peer.port}/").status == 200
        assert f"Host: hooks.example:{peer.port}".encode() in peer.received
        assert send(f"https://HOOKS.example:{peer.port}/").status == 200
        assert peer.names == ["hooks.example"] * 2
        told = refusal(f"https://other.example:{peer.port}/")
        assert told.startswith("its certificate is not valid: Hostname mismatch")
    assert asked == ["hooks.example", "hooks.example", "other.example"]


@pytest.mark.parametrize("dot", ["", "."])
def test_a_name_whose_answer_changes_is_resolved_once_and_refused_once_it_is_not_public(
    resolved, dot
):
    names, asked = resolved
    names[f"hooks.example{dot}"] = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2", "127.0.0.1"]]
    allowed = [ip_network("127.0.0.1/32")]
    with Peer(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as peer:
        url = f"http://hooks.example{dot}:{peer.port}/"
        assert send(url, allowed).status == 200
        assert refusal(url, allowed).startswith("its address 127.0.0.2 is not public")
        assert send(url, allowed).status == 200  # by the address that is allowed, alone
        assert peer.connections == 2
    assert len(asked) == 3


def test_an_address_that_does_not_answer_leaves_time_for_the_next_one(resolved):
    names, _ = resolved
    names["hooks.example"] = [["127.0.0.2", "127.0.0.1"], ["127.0.0.3", "127.0.0.1"]]
    with Peer(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as peer:
        url = f"http://hooks.example:{peer.port}/"
        assert send(url).status == 200  # after one that refuses
        with socket.create_server(("127.0.0.3", peer.port), backlog=0) as full:
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            assert send(url).status == 200  # after one whose queue of connections is full
            for one in waiting:
                one.close()


@pytest.mark.parametrize(
    "host",
    str.split("""
        localhost LOCALHOST localhost. 127.0.0.1 127.0.0.1. 127.1 127.0.1 2130706433 0x7f000001
        0x7f.1 0177.0.0.1 017700000001 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1]
        [0:0:0:0:0:0:0:1] [64:ff9b::7f00:1] [::127.0.0.1] [::1%25lo] [fe80::1%25lo] 10.0.0.1
        169.254.169.254 0xa9fea9fe
    """),
)
def test_each_way_to_write_this_host_or_its_network_is_refused(host):
    with Peer(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as peer:
        told = refusal(f"http://{host}:{peer.port}/", allowed=())
        assert "not public" in told or told == "its name cannot be resolved"
        assert peer.connections == 0
