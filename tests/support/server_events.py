"""Random events that servers send, and random values of events, for tests of twins."""

from __future__ import annotations

from bridge.protocol.event import TERMINAL, TYPES, Event

ENDS = sorted(TERMINAL)
#: Ids of tasks about which a server concludes something.
KNOWN = ("job", "b", "c", "task-177", "task-178", "task-179")


def bar(chance):
    """Return a bar with values of all kinds."""
    return {
        "position": chance.randint(0, 3),
        "desc": chance.choice(["", "rows", "é"]),
        "unit": "it",
        "unit_scale": chance.choice([True, False, 1024]),
        "n": chance.choice([0, 3, 2.5]),
        "total": chance.choice([None, 0, 10]),
        "postfix": chance.choice(["", "loss=1"]),
        "rate": chance.choice([None, 0.0, 1 / 3]),
        "eta": chance.choice([None, 1.25]),
        "elapsed": chance.random(),
        "closed": chance.random() < 0.3,
    }


def steps(chance):
    """Return fields of steps with values of all kinds."""
    made = []
    for number in range(1, chance.randint(1, 4)):
        state = chance.choice(["running", "running", *ENDS])
        parent = chance.choice([None, number - 1 or None])
        ended_at = None if state == "running" else 900.5
        step = {"id": number, "parent": parent, "name": chance.choice(["", "load", "é"])}
        made.append({**step, "state": state, "started_at": 900.25, "ended_at": ended_at})
    return {"steps": made, **chance.choice([{}, {"steps_omitted": chance.randint(1, 9)}])}


def error(chance):
    """Return what a task raised."""
    return {"class": chance.choice("AB"), "message": chance.choice(["", "no", "again"])}


def event(task, kind, at, data, place):
    """Return an event of a task."""
    run, seq, tick = place
    name, owner = f"n.{task}", "me" if task != "b" else None
    placed = {"run": run, "seq": seq, "tick": tick}
    return Event(
        job="job", task=task, name=name, owner=owner, type=kind, at=at, data=data, **placed
    )


def of_server(chance, server, at):
    """Return what a server concludes or is asked for; None if that is not possible now.

    Args:
        server: the server's snapshot.
    """
    tasks = [task for name in KNOWN if (task := server.task(name))]
    kind = chance.choice(["sweep", "stalled", "end", "end", "overturn", "cancel", "way", "wait"])
    if server.state == "queued" and chance.random() < 0.5:
        kind = "wait"
    if kind == "cancel":
        data = {"reason": chance.choice("rs")} if chance.random() < 0.5 else {}
        return event("job", "cancelling", at, data, (0, 0, 0))
    if kind == "wait":
        queue = {"name": "q", "ahead": chance.choice([None, 3]), "workers": True}
        eta = {"earliest": at, "latest": at + 1, "jobs": 4}
        return server.expectation(at, queue=queue, eta=chance.choice([None, eta]))
    if kind == "way":
        return server.disturbance(at, chance.choice([None, "r", "s"]))
    if kind == "sweep":
        return server.sweep(at, "r") if chance.random() < 0.3 else None
    if kind == "overturn":
        tasks = server.presumed_tasks()
    if not tasks:
        return None
    ends = {"stalled": ["stalled"], "end": ["lost", "cancelled", "retrying"]}.get(kind, ENDS)
    why = chance.choice([{"reason": "silent"}, {"error": error(chance)}, {"result": 7}])
    return server.verdict(chance.choice(tasks), chance.choice(ends), at, **why)


def noise(chance, at, tasks):
    """Return an event of any type at any place."""
    kind, run = chance.choice(sorted(TYPES)), chance.randint(0, 2)
    data = chance.choice(
        [
            {"total": chance.randint(1, 4), "more": 1, "attempt": run},
            {"error": error(chance), "reason": "r", "retry_at": at + 5},
            {"verdict": True, "waiting": chance.random() < 0.3, "disturbed": True, "reason": "s"},
            {"bars": [bar(chance)], "meta": {"x": at}, "verdict": True, **steps(chance)},
            {},
        ]
    )
    place = (run, chance.randint(0, 4), chance.randint(0, 2)) if run else (0, 0, 0)
    return event(chance.choice(tasks), kind, at, data, place)
