"""A server that speaks TLS itself."""

from __future__ import annotations

import socket
import ssl
import subprocess
import urllib.request

import pytest
import socketio

from support.stack import OWN_SERVERS
from support.tools import need
from support.wait import until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=60)
    return chain, key


@pytest.fixture(params=OWN_SERVERS)
def stack(request, new_stack, certificate):
    chain, key = certificate
    stack = new_stack(TASKBRIDGE_CONNECT_TIMEOUT="2")
    stack.mode = request.param
    arguments = ("serve", "--certfile", str(chain), "--keyfile", str(key))
    server = stack.start("server", *stack.command(*arguments))
    server.await_output("serving on https://")
    return stack


def open_page(stack, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    url = f"https://127.0.0.1:{stack.port}/healthz"
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return answer.status


def test_a_page_and_a_client_are_served(stack, certificate, monkeypatch):
    until(lambda: open_page(stack, certificate) == 200, 20, "the server to be healthy")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with socketio.SimpleClient(handle_sigint=False) as client:
        url = f"https://127.0.0.1:{stack.port}"
        auth = {"token": stack.token(owner="me")}
        client.connect(url, namespace="/jobs", auth=auth, transports=["websocket"])
        assert client.call("jobs", {})["ok"]


def test_who_does_not_shake_hands_holds_up_nobody_and_is_hung_up_on(stack, certificate):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=15) as silent:
        assert open_page(stack, certificate) == 200
        silent.settimeout(15)
        assert silent.recv(1) == b""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=15) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" not in plain.recv(1000)
    assert open_page(stack, certificate) == 200
    [server] = stack.processes
    assert "Traceback" not in server.output


@pytest.mark.parametrize("mode", OWN_SERVERS)
def test_a_certificate_that_is_none_is_a_wrong_setting(new_stack, tmp_path, mode):
    file = tmp_path / "chain.pem"
    file.write_text("no certificate")
    stack = new_stack()
    stack.mode = mode
    for arguments in (("--certfile", str(file)), ("--certfile", "/nowhere"), ("--keyfile", "/")):
        server = stack.start("server", *stack.command("serve", *arguments))
        assert server.wait() == 2
        assert "TASKBRIDGE_" in server.output
        assert "Traceback" not in server.output


def test_the_client_that_a_service_uses_knows_the_scheme(new_stack, certificate):
    stack = new_stack()
    settings = stack.settings.replace(certfile=certificate[0])
    assert settings.server_url == f"https://127.0.0.1:{stack.port}"
