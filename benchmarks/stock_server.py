"""The recipe that taskbridge replaces: a plain eventlet Socket.IO server, as its docs have it."""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402

import eventlet.wsgi  # noqa: E402
import socketio  # noqa: E402


class Jobs(socketio.Namespace):
    """Anybody may watch anything: a room for each job."""

    def on_watch(self, sid, request):
        self.enter_room(sid, f"job:{request['job']}")
        return {"ok": True}


def main() -> None:
    """Serve: ``stock_server.py URL CHANNEL PORT``."""
    url, channel, port = sys.argv[1:]
    manager = socketio.KombuManager(url, channel=channel)
    server = socketio.Server(async_mode="eventlet", client_manager=manager)
    server.register_namespace(Jobs("/jobs"))
    listener = eventlet.listen(("127.0.0.1", int(port)), backlog=1024)
    print("serving on", port, flush=True)
    eventlet.wsgi.server(listener, socketio.WSGIApp(server), log_output=False, max_size=10_000)


if __name__ == "__main__":
    main()
