"""An application with a namespace of its own on taskbridge's server."""

from __future__ import annotations

import sys

from socket_server.__main__ import serve  # first: it patches the standard library

# isort: split
from bridge.settings import Settings
from socket_server.app import new_server

NAMESPACE = "/app"

settings = Settings.from_environ()
server = new_server(settings)
sio = server.sio


@sio.on("connect", namespace=NAMESPACE)
def connect(sid, environ, auth):
    if auth == {"name": "nobody"}:
        raise ConnectionRefusedError("nobody is not welcome")
    sio.emit("welcome", {"sid": sid}, to=sid, namespace=NAMESPACE)


@sio.on("disconnect", namespace=NAMESPACE)
def disconnect(sid, reason):
    sio.emit("left", sid, namespace=NAMESPACE)


@sio.on("echo", namespace=NAMESPACE)
def echo(sid, *data):
    return data


@sio.on("to_all", namespace=NAMESPACE)
def to_all(sid, data):
    sio.emit("news", data, namespace=NAMESPACE)


@sio.on("to_one", namespace=NAMESPACE)
def to_one(sid, target, data):
    sio.emit("news", data, to=target, namespace=NAMESPACE)


@sio.on("to_room", namespace=NAMESPACE)
def to_room(sid, room, data, skip_me):
    sio.emit("news", data, room=room, skip_sid=sid if skip_me else None, namespace=NAMESPACE)


@sio.on("send_all", namespace=NAMESPACE)
def send_all(sid, data):
    sio.send(data, namespace=NAMESPACE)


@sio.on("enter", namespace=NAMESPACE)
def enter(sid, room):
    sio.enter_room(sid, room, namespace=NAMESPACE)
    return sorted(sio.rooms(sid, namespace=NAMESPACE))


@sio.on("leave", namespace=NAMESPACE)
def leave(sid, room):
    sio.leave_room(sid, room, namespace=NAMESPACE)
    return sorted(sio.rooms(sid, namespace=NAMESPACE))


if __name__ == "__main__":
    sys.exit(serve(server, settings))
