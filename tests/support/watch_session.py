"""A random session of a client that watches a job: servers, cuts, refusals and repetitions."""

from __future__ import annotations

import json
from collections import deque

from bridge.errors import TaskbridgeError
from bridge.protocol.event import NAMESPACE
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.journal import Journal

#: Refusals of ``watch`` after which a client asks again.
TEMPORARY = (
    {"code": "unavailable", "message": "not now"},
    {"code": "too_many_requests", "message": "slower", "temporary": True, "retry_after": 1.0},
    {"code": "too_many_requests", "message": "slower"},  # a server of version 0.1.0
    {"code": "internal", "message": "a fault", "temporary": True},
    {"code": "to_come", "message": "a code of a later version", "temporary": True},
)
FINAL = {"code": "not_found", "message": "no such job", "temporary": False}


class Over(TaskbridgeError):
    """The story has no more steps."""


class Server:
    """A server that folds the events of a story, as fast as it can.

    Args:
        epoch: name of its sequence of offsets.
        events: events of the story.
        held: maximum events that it holds.
    """

    def __init__(self, epoch, events, held):
        self.journal = Journal(epoch=epoch, max_events=held)
        self.left = deque(events)

    def fold(self):
        """Fold the next event; return it in the form in which clients get it, if it is new."""
        change = self.journal.fold(self.left.popleft()) if self.left else None
        return json.loads(change.text) if change else None

    def answer(self, cursor):
        """Return the answer to ``watch``, from the result backend if there is no other."""
        if "job" not in self.journal:
            begun = {**Snapshot("job").encode(), "state": "running", "total": 1, "at": 1.0}
            given = {"snapshot": {**begun, "source": "result"}, "events": [], "cursor": None}
            return {"ok": True, **given, "recovered": False}
        view = self.journal.view("job", cursor)
        given = {"snapshot": json.loads(view.snapshot), "events": view.events}
        return {"ok": True, **given, "recovered": view.recovered, "cursor": view.cursor}


class Session:
    """Plays one of two servers to a ``Watcher``, and records it as steps for other clients.

    Args:
        chance: source of randomness.
        events: events of the story.
    """

    def __init__(self, chance, events):
        self.steps, self.asked = [], []
        self._chance = chance
        epochs = ("a", chance.choice("ab"))
        self._servers = [self._new_server(epoch, events) for epoch in epochs]
        for server in self._servers:
            if chance.random() < 0.8:  # else it does not hold the job yet
                server.fold()
        self._server, self._pending, self._last = None, None, None
        self._messages = deque()

    def _new_server(self, epoch, events):
        chance = self._chance
        # A server that was restarted may have missed the first events.
        missed = chance.randint(1, 4) if chance.random() < 0.3 else 0
        return Server(epoch, events[missed:], chance.choice([5, 999, 999]))

    def attach(self, watcher):
        """Take the place of the connection of a watcher."""
        client = watcher._client
        self._heard = client.handlers[NAMESPACE]
        client.dial, client.emit, client.shutdown = self._dial, self._emit, lambda: None
        watcher._inbox = self

    def put(self, message):
        """Keep a message for the iteration, as a queue does."""
        self._messages.append(message)

    def get(self, timeout):
        """Return the next message; until there is one, let something happen."""
        while not self._messages:
            self._step()
        return self._messages.popleft()

    def _dial(self, *_):
        self._connect()

    def _emit(self, name, request, namespace, callback):
        assert name == "watch"
        self._pending = (request, callback)

    def _step(self):
        if not any(server.left for server in self._servers) and self._chance.random() < 0.3:
            return self.put(("refused", Over()))
        self._chance.choice(self._servers).fold() if self._server is None else None
        if self._server is None:
            return self._connect() if self._chance.random() < 0.4 else None
        if self._chance.random() < 0.1:
            return self._cut()
        return self._reply() if self._pending else self._deliver()

    def _connect(self):
        self._server = self._chance.choice(self._servers)
        self.steps.append({"do": "connect"})
        self._heard["connect"]()

    def _cut(self):
        self._server, self._last = None, None
        if self._pending:
            self.asked.append(self._pending[0])
        self._pending = None
        self.steps.append({"do": "disconnect"})
        self._heard["disconnect"]("transport close")

    def _reply(self):
        (request, callback), self._pending = self._pending, None
        self.asked.append(request)
        if (luck := self._chance.random()) < 0.2:
            error = FINAL if luck < 0.005 else self._chance.choice(TEMPORARY)
            self.steps.append({"do": "refuse", "error": error})
            return callback({"ok": False, "error": error})
        reply = self._server.answer(request.get("cursor"))
        self.steps.append({"do": "answer", "reply": reply})
        return callback(json.loads(json.dumps(reply)))

    def _deliver(self):
        other = next(one for one in self._servers if one is not self._server)
        if self._chance.random() < 0.3:
            other.fold()
        repeats = self._last and self._chance.random() < 0.05
        message = self._last if repeats else self._server.fold()
        if message:
            self._last = message
            self.steps.append({"do": "job", "event": message})
            self._heard["job"](json.loads(json.dumps(message)))
