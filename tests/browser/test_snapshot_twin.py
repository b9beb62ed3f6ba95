"""The client's snapshot.ts folds events into what bridge/snapshot.py does, whatever the events."""

from __future__ import annotations

import random

from bridge.events import TERMINAL, TYPES, Event
from bridge.snapshot import Snapshot

FOLD = """
async (stories) => {
  const { Snapshot } = await import("/static/client.js");
  return stories.map(({ start, events }) => {
    const snapshot = start ? Snapshot.from(start) : new Snapshot("job");
    const news = events.map((event) => snapshot.apply(event));
    return { news, state: snapshot.state, total: snapshot.total, done: snapshot.done,
      bars: snapshot.bars.length, name: snapshot.name, result: snapshot.result ?? null,
      error: snapshot.error, queued: snapshot.queued_at, started: snapshot.started_at,
      ended: snapshot.ended_at, meta: snapshot.meta, reason: snapshot.reason,
      retry_at: snapshot.retry_at, cancelling: snapshot.cancelling, stalled: snapshot.stalled,
      queue: snapshot.queue, eta: snapshot.eta,
      tasks: snapshot.tasks.map(({ task, state, attempt, stalled, presumed }) =>
        ({ task, state, attempt, stalled, presumed })),
      dropped: snapshot.dropped, incomplete: snapshot.incomplete };
  });
}
"""


def story(chance):
    """Return events of a few tasks of a job, in any order, duplicates among them."""
    events = []
    for at in range(1, chance.randint(2, 26)):
        kind = chance.choice(sorted(TYPES))
        data = {"attempt": 1} if kind == "started" else {}
        if kind == "queued":
            data = {"total": chance.randint(1, 4)}
        if kind in ("queued", "started") and chance.random() < 0.3:
            data["more"] = chance.randint(1, 2)
        elif kind in ("retrying", "cancelling"):
            data = {"reason": chance.choice("rs")} if chance.random() < 0.5 else {}
        elif kind == "estimate":
            data = {"queue": {"name": "q", "ahead": at, "workers": True}, "eta": {"jobs": at}}
        elif kind == "progress":
            data = {"bars": [{"n": at}] * chance.randint(0, 2)}
            if chance.random() < 0.5:
                data["meta"] = {chance.choice("xy"): at}
        elif kind == "succeeded":
            data = {"result": at}
        elif kind in TERMINAL:
            data = {"error": {"class": "E", "message": str(at)}, "reason": str(at)}
        if kind in TERMINAL and chance.random() < 0.4:
            data["verdict"] = True
        if kind == "retrying" and chance.random() < 0.5:
            data |= {"retry_at": at + 5, "error": {"class": "E", "message": "again"}}
        elif kind == "log":
            data = {"lines": [], "dropped": chance.randint(0, 2)}
        task = chance.choice(["job", "b", "c"])
        run = 0 if kind == "queued" else chance.randint(1, 2)
        place = {
            "run": run,
            "seq": chance.randint(0, 4) if run else 0,
            "tick": chance.randint(0, 2),
        }
        events.append(
            Event(job="job", task=task, name=f"n.{task}", type=kind, at=at, data=data, **place)
        )
        if chance.random() < 0.1:
            events.append(events[-1])
    return events


def folded(snapshot, events):
    """Return what bridge/snapshot.py makes of the events, in the form of FOLD's answer."""
    news = [snapshot.apply(event) for event in events]
    given = snapshot.encode()
    return {
        "news": news,
        **{
            key: given[key]
            for key in (
                *("state", "total", "done", "name", "error", "dropped", "meta", "reason"),
                *("retry_at", "cancelling", "stalled", "queue", "eta"),
            )
        },
        "bars": len(given["bars"]),
        "tasks": [
            {key: task[key] for key in ("task", "state", "attempt", "stalled", "presumed")}
            for task in given["tasks"]
        ],
        "result": given.get("result"),
        "queued": snapshot.queued_at,
        "started": given["started_at"],
        "ended": given["ended_at"],
        "incomplete": given["incomplete"],
    }


def test_the_page_and_the_server_fold_alike(page, stack):
    chance = random.Random(20)
    stories, expected = [], []
    for number in range(1000):
        events = story(chance)
        # Every other story is joined in the middle, as a page does that was opened late.
        cut = len(events) // 2 if number % 2 else 0
        first = Snapshot("job")
        for event in events[:cut]:
            first.apply(event)
        start = first.encode() if cut else None
        stories.append({"start": start, "events": [event.encode() for event in events[cut:]]})
        snapshot = Snapshot.decode(start) if start else Snapshot("job")
        expected.append(folded(snapshot, events[cut:]))
    page.goto(stack.url)
    for found, wanted, told in zip(page.evaluate(FOLD, stories), expected, stories, strict=True):
        assert found == wanted, told
