"""Random events of jobs as their tasks and servers send them, for tests of twins."""

from __future__ import annotations

from bridge.protocol.event import TERMINAL
from bridge.protocol.snapshot import Snapshot
from support.server_events import bar, error, event, noise, of_server, steps

#: Ids of the tasks of a job of one task, of a small canvas, and of one with more tasks than a
#: snapshot lists.
ONE, FEW = ["job"], ["job", "b", "c"]
MANY = ["job", *(f"task-{number}" for number in range(180))]
ENDS = sorted(TERMINAL)
OMITTED = {"result_omitted": True}


class Life:
    """A task, which sends its events in order, over several executions.

    Args:
        chance: source of randomness.
        task: id of the task.
        failing: part of its ends that are not successes.
    """

    def __init__(self, chance, task, failing):
        self._chance, self._task, self._failing = chance, task, failing
        self._state, self._attempt = "new", 0
        self._run, self._seq, self._tick = 0, 0, 0
        self._meta, self._saved, self._steps = {}, {}, {}

    def event(self, at):
        """Return the next event."""
        kind = self._kind()
        data = getattr(self, f"_{kind}", self._end if kind in TERMINAL else dict)()
        if kind != "progress" and self._chance.random() < 0.1:
            data["dropped"] = self._chance.randint(0, 3)
        self._state = kind
        return event(self._task, kind, at, data, (self._run, self._seq, self._tick))

    def _kind(self):
        chance, ended = self._chance, self._state in TERMINAL
        if self._state == "new" and chance.random() < 0.7:
            return "queued"
        # A redelivered task starts while it runs, and may start after its end.
        if self._state in ("new", "queued", "retrying") or chance.random() < 0.04:
            return "started"
        if ended:  # reported once more, as by the worker's parent
            return chance.choice(ENDS)
        kind = chance.choice(["progress", "progress", "log", "output", "retrying", "end"])
        if kind != "end":
            return kind
        return chance.choice(ENDS) if chance.random() < self._failing else "succeeded"

    def _queued(self):
        data = {"total": self._chance.choice([1, 2, 3, 150])} if self._task == "job" else {}
        if self._chance.random() < 0.3:
            data["title"] = self._chance.choice(["Orders", "Bestellungen"])
        if self._chance.random() < 0.1:
            data["again_of"] = "former"
        if self._chance.random() < 0.2:
            data |= {"followers": ["later", "b"], "queue": "celery", "expires_at": None}
        return data | self._more()

    def _more(self):
        return {"more": self._chance.randint(1, 3)} if self._chance.random() < 0.1 else {}

    def _started(self):
        self._attempt += self._state != "started"
        # Gaps between numbers of executions, as between times.
        self._run += self._chance.randint(1, 3)
        self._seq, self._tick, self._meta, self._steps = 0, 0, {}, {}
        saved = self._saved.get("saved")
        resumed = {"at": saved, "share": self._chance.choice([None, 0.57])}
        self._saved = {"saved": saved, "resumed": resumed} if saved and self._attempt > 1 else {}
        return {"attempt": self._attempt, "redelivered": self._attempt > 1} | self._more()

    def _progress(self):
        self._tick += 1
        data = {"bars": [bar(self._chance) for _ in range(self._chance.randint(0, 2))]}
        if self._chance.random() < 0.3:
            value = self._chance.choice([1, None, [2], "t"])
            self._meta = {**self._meta, self._chance.choice("xyz"): value}
        elif self._chance.random() < 0.1:
            self._meta = {}
        if self._chance.random() < 0.2:
            self._saved = {**self._saved, "saved": 900.5 + self._run + self._tick}
        if self._chance.random() < 0.3:
            self._steps = steps(self._chance)
        data |= self._saved | self._steps
        return data | ({"meta": self._meta} if self._meta else {})

    def _next(self):
        self._seq, self._tick = self._seq + 1, 0

    def _log(self):
        self._next()
        return {"lines": [{"at": 1.5, "level": "INFO", "message": "line"}]}

    def _output(self):
        self._next()
        return {"chunks": ["text\n"]}

    def _retrying(self):
        self._next()
        data = self._chance.choice([{"reason": "r"}, {"error": error(self._chance)}, {}])
        return data | self._chance.choice([{}, {"retry_at": 5000.5}])

    def _succeeded(self):
        self._next()
        return self._chance.choice([{"result": self._run}, {"result": None}, {}, OMITTED.copy()])

    def _end(self):
        self._next()
        return self._chance.choice([{"error": error(self._chance)}, {"reason": "why"}, {}])


def story(chance, tasks, length, *, failing=0.3, noisy=0.0):
    """Return events of a job in the order in which a client gets them.

    Some are missing, come twice, or overtake another.

    Args:
        chance: source of randomness.
        tasks: ids of its tasks.
        length: number of events.
        failing: part of the ends that are not successes.
        noisy: part of the events that no task would send.
    """
    server, at = Snapshot("job"), 1000.0
    lives = [Life(chance, task, failing) for task in tasks]
    events = []
    while len(events) < length:
        # Halves of a thousandth, which are rounded, among the times.
        at += chance.choice([0.0, 1 / 16, 0.25, chance.random()])
        made = noise(chance, at, tasks) if chance.random() < noisy else None
        if made is None and chance.random() < min(0.2, 10 / length):
            made = of_server(chance, server, at)
        made = made or chance.choice(lives).event(at)
        server.apply(made)
        events.append(made)
    return disordered(chance, events)


def disordered(chance, events):
    """Return events of which some are missing, come twice, or overtake another."""
    came = []
    for one in events:
        if chance.random() < 0.03:
            continue
        came.insert(len(came) - (chance.random() < 0.04), one)
        if chance.random() < 0.05:
            came.append(chance.choice(came[-20:]))
    return came
