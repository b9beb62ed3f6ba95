"""What a connection for asyncio says about what answers instead of a socket server."""

from __future__ import annotations

import asyncio
import json
import re
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.client.asynchronous.socket_client import AsyncSocketClient
from bridge.errors import ServerUnavailable, TaskbridgeError, TokenError

BUSY = {"error": {"code": "too_many_connections", "message": "too many", "temporary": True}}
FORBIDDEN = {"error": {"code": "unauthorized", "message": "not from here", "temporary": False}}


def http(status, body=b""):
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def error_of(answer, scheme="http"):
    """Return the error of a connection to what answers each request so, and its URL."""

    async def reply(reader, writer):
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def main():
        async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
            url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = AsyncSocketClient(url, "socket.io", {})
            with pytest.raises(TaskbridgeError) as raised:
                async with client.connected("token"):
                    pass
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return raised.value, url

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (b"", ServerUnavailable, "no socket server answers at {url}: start it, or set"),
        (b"garbage", ServerUnavailable, "no socket server answers at {url}: start it, or set"),
        (
            http(404),
            ServerUnavailable,
            "what answers at {url} is no socket server (HTTP status 404",
        ),
        (
            http(503),
            ServerUnavailable,
            "a proxy at {url} reaches no socket server (HTTP status 503",
        ),
        (http(429, json.dumps(BUSY).encode()), ServerUnavailable, "too many"),
        (http(403, json.dumps(FORBIDDEN).encode()), TokenError, "not from here"),
    ],
    ids=["nothing", "garbage", "no server", "proxy", "busy", "forbidden"],
)
def test_what_answers_instead_of_a_server_is_named(answer, kind, sentence):
    error, url = error_of(answer)
    assert type(error) is kind
    assert re.match(re.escape(sentence.format(url=url)), str(error))


def test_an_attempt_that_is_given_up_leaves_nothing():
    async def main(url):
        client = AsyncSocketClient(url, "socket.io", {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), client.connected("token"):
                pass
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(f"http://127.0.0.1:{silent.getsockname()[1]}"))


async def silent_server(request):
    """Let a client in, and never say a word again."""
    told = web.WebSocketResponse()
    await told.prepare(request)
    limits = {"upgrades": [], "pingInterval": 100, "pingTimeout": 100, "maxPayload": 1}
    await told.send_str("0" + json.dumps({"sid": "s", **limits}))
    await told.receive()
    await told.send_str('40/jobs,{"sid":"s"}')
    await asyncio.sleep(20)
    return told


def test_a_connection_that_has_gone_silent_is_closed():
    async def main():
        app = web.Application()
        app.router.add_get("/socket.io/", silent_server)
        async with TestServer(app) as server:
            client = AsyncSocketClient(str(server.make_url("")), "socket.io", {})
            async with client.connected("token") as ended:
                websocket = client._sio.eio.ws
                await asyncio.wait([ended], timeout=10)
                assert ended.done()
            assert websocket.closed

    asyncio.run(main())


def test_a_url_with_the_wrong_scheme_is_named():
    error, url = error_of(http(400), "https")
    assert re.match(rf"no trusted connection to {url} \(.*\): correct the scheme", str(error))
