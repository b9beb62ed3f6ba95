"""With X watching its job, nobody but X, and who was given that job, gets a byte about it."""

from __future__ import annotations

import json
import uuid

import pytest

from bridge.protocol.event import SERVER_MADE, TYPES
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from support.raw import Raw
from support.stack import Stack

BAR = {"position": 0, "n": 1, "total": 2, "desc": "SECRET", "unit": "it", "unit_scale": False}
BAR |= {"postfix": "", "rate": None, "eta": None, "elapsed": 0.0, "closed": False}
#: What a run says itself, in an order in which it may.
TOLD = [
    ("queued", {"total": 1, "queue": "celery"}),
    ("started", {"attempt": 1}),
    ("progress", {"bars": [BAR]}),
    ("log", {"lines": [{"at": 0, "level": "INFO", "message": "SECRET"}]}),
    ("output", {"chunks": ["SECRET"]}),
    ("retrying", {"error": {"class": "E", "message": "SECRET"}}),
    ("cancelling", {}),
    ("failed", {"error": {"class": "E", "message": "SECRET"}}),
    ("lost", {"reason": "SECRET"}),
    ("cancelled", {"reason": "SECRET"}),
    ("succeeded", {"result": "SECRET"}),
]


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    limits = {"TASKBRIDGE_STALLED_AFTER": "1", "TASKBRIDGE_LOST_AFTER": "3"}
    stack = Stack(tmp_path_factory.mktemp("privacy"), rabbitmq.new_vhost(), **limits)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


class Client:
    """A connection of which every byte is kept.

    Args:
        stack: whose server.
        claims: of its token.
    """

    def __init__(self, stack, **claims):
        self.raw = Raw("127.0.0.1", stack.port, "127.0.0.1").open()
        claims = {"scope": "watch cancel enqueue", **claims}
        assert self.raw.connect(stack.token(**claims)).startswith("40/jobs,")
        self.heard = []

    def ask(self, name, payload):
        """Return the answer to a request; what comes before it is kept."""
        self.raw.say(f"42/jobs,5{json.dumps([name, payload])}")
        while not (message := self.raw.message()).startswith("43/jobs,5"):
            self.heard.append(message)
        self.heard.append(message)
        return json.loads(message.removeprefix("43/jobs,5"))[0]

    def hear(self, until):
        """Keep what comes until something has the text in it, and return all that was heard."""
        while not any(until in message for message in self.heard):
            self.heard.append(self.raw.message())
        return self.heard

    def types(self):
        """Return the types of the events that it heard."""
        events = (one.removeprefix("42/jobs,") for one in self.heard if one.startswith("42/jobs,"))
        return {json.loads(one)[1].get("type") for one in events}

    def close(self):
        self.raw.close()


@pytest.fixture
def connect(stack):
    clients = []

    def connect(**claims):
        clients.append(Client(stack, **claims))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def tell(stack, run, kind, data):
    emitter = emitter_for(stack.settings)
    emitter.put(run, kind, data)
    assert emitter.flush(10)


def strangers(stack, connect, job):
    """Return those who may not see the job, each having asked for it in every way."""
    clients = [
        connect(owner="stranger"),
        connect(owner="x", jobs=["x"]),
        connect(jobs=[str(uuid.uuid4())]),
        connect(owner="X "),
        connect(owner="stranger", scope="cancel"),
    ]
    asked = [(name, job) for name in ("cancel", "unwatch", "jobs", "refresh", "enqueue", "join")]
    asked += [("watch", job), ("watch", "owner:X")]
    for client in clients:
        for name, named in asked:
            payload = {"job": named, "owner": "X", "room": named, "name": "support.add"}
            client.raw.say(f"42/jobs,1{json.dumps([name, payload])}")
    marker(stack, clients)
    return clients


def marker(stack, clients):
    """Have each of the clients answered, which comes after all that went before."""
    for client in clients:
        client.ask("unwatch", {"job": "the end"})


def test_every_type_of_event_reaches_who_may_see_it_and_nobody_else(stack, connect):
    secret = str(uuid.uuid4())
    jobs = {kind: f"{secret}-{kind}" for kind in [*dict(TOLD), "stalled"]}
    runs = {
        kind: Run(job=job, task=job, name="support.secret", owner="X") for kind, job in jobs.items()
    }
    for run in runs.values():
        tell(stack, run, "queued", {"total": 1})
    others = strangers(stack, connect, jobs["started"])
    mine, given = connect(owner="X"), connect(jobs=list(jobs.values()))
    assert mine.ask("jobs", {})["ok"]
    assert all(given.ask("watch", {"job": job})["ok"] for job in jobs.values())
    for kind, data in TOLD:
        tell(stack, runs[kind], kind, data)
    tell(stack, runs["stalled"], "started", {})  # and nothing more
    for client in (mine, given):
        client.hear('"type":"stalled"')  # a second after all the others
        assert TYPES - SERVER_MADE - {"queued"} <= client.types()
    marker(stack, others)
    for client in others:
        heard = "".join(client.heard).replace(f"no job {jobs['started']} ", "")
        about = ("SECRET", "support.secret", secret, '"owner":"X"')
        assert not any(text in heard for text in about)


def test_a_push_to_an_owner_or_a_job_reaches_nobody_else(stack, connect):
    job = str(uuid.uuid4())
    tell(stack, Run(job=job, task=job, name="support.secret", owner="X"), "started", {"total": 1})
    others = strangers(stack, connect, job)
    mine = connect(owner="X")
    mine.ask("jobs", {})
    mine.ask("watch", {"job": job})
    stack.bridge.push("notice", {"text": "SECRET of the owner"}, owner="X")
    stack.bridge.push("notice", {"text": "SECRET of the job"}, job=job)
    mine.hear("SECRET of the owner")
    mine.hear("SECRET of the job")
    marker(stack, others)
    for client in others:
        assert "SECRET" not in "".join(client.heard)


def test_every_answer_about_it_is_refused_over_http_too(stack):
    job = str(uuid.uuid4())
    run = Run(job=job, task=job, name="support.secret", owner="X")
    tell(stack, run, "succeeded", {"result": "SECRET"})
    for claims in ({"owner": "stranger"}, {"jobs": ["x"]}, {"owner": "X", "scope": "enqueue"}):
        with Raw("127.0.0.1", stack.port, "127.0.0.1") as raw:
            line = f"GET /api/jobs/{job} HTTP/1.1"
            reply = raw.request(line, f"Authorization: Bearer {stack.token(**claims)}")
            assert reply.status in (403, 404)
            assert b"SECRET" not in reply.body


def test_no_token_is_in_the_log(stack, connect):
    tokens = [stack.token(owner="X"), stack.token(owner="X", ttl=1.0), "rubbish-that-is-a-secret"]
    for token in tokens:
        with Raw("127.0.0.1", stack.port, "127.0.0.1").open() as raw:
            raw.connect(token)
            raw.say(f'42/jobs,1["watch",{{"job":"{token}"}}]')
            raw.say(f'42/jobs,["{token}"]')
            raw.say(f"4{token}")
        with Raw("127.0.0.1", stack.port, "127.0.0.1") as raw:
            raw.request(f"GET /api/jobs/x?token={token} HTTP/1.1", f"Authorization: Bearer {token}")
    [server] = stack.processes
    assert not any(token in server.output for token in tokens)


def test_these_tests_tell_every_type_of_event_that_a_run_may_tell():
    assert {kind for kind, _ in TOLD} == TYPES - SERVER_MADE
