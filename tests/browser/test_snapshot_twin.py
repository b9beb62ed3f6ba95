"""The client's snapshot.ts folds events into what bridge/protocol/snapshot.py does."""

from __future__ import annotations

import random

import pytest

from bridge.protocol.event import TERMINAL, TYPES, Event
from bridge.protocol.snapshot import Snapshot

FOLD = """
async (stories) => {
  const { Snapshot } = await import("/static/client.js");
  return stories.map(({ start, events }) => {
    const snapshot = start ? Snapshot.from(start) : new Snapshot("job");
    const news = events.map((event) => snapshot.apply(event));
    return { news, state: snapshot.state, total: snapshot.total, done: snapshot.done,
      bars: snapshot.bars, name: snapshot.name, result: snapshot.result ?? null,
      error: snapshot.error, queued: snapshot.queued_at, started: snapshot.started_at,
      ended: snapshot.ended_at, meta: snapshot.meta, reason: snapshot.reason,
      retry_at: snapshot.retry_at, cancelling: snapshot.cancelling, stalled: snapshot.stalled,
      disturbed: snapshot.disturbed, queue: snapshot.queue, eta: snapshot.eta,
      tasks: snapshot.tasks.map(({ task, state, attempt, stalled, presumed }) =>
        ({ task, state, attempt, stalled, presumed })),
      dropped: snapshot.dropped, incomplete: snapshot.incomplete };
  });
}
"""


#: Ids of the tasks of a small job, and of one with more tasks than a snapshot lists.
FEW, MANY = ["job", "b", "c"], ["job", *(f"task-{number}" for number in range(250))]
#: Kinds of a large canvas, in which few tasks fail, so that it is not over at once.
USUAL = ["queued"] * 6 + ["started"] * 6 + ["progress"] * 4 + ["succeeded"] * 6 + ["retrying"]


def story(chance, tasks=FEW, length=26):
    """Return events of a job's tasks, in any order, duplicates among them."""
    events = []
    kinds = sorted(TYPES) if tasks is FEW else USUAL + sorted(TYPES) * chance.randint(0, 1)
    for at in range(1, chance.randint(2, length)):
        kind = chance.choice(kinds)
        data = {"attempt": 1} if kind == "started" else {}
        if kind == "queued":
            data = {"total": chance.randint(1, 4)}
        if kind in ("queued", "started") and chance.random() < 0.3:
            data["more"] = chance.randint(1, 2)
        elif kind in ("retrying", "cancelling"):
            data = {"reason": chance.choice("rs")} if chance.random() < 0.5 else {}
        elif kind == "disturbed":
            data = {"disturbed": chance.random() < 0.6, "reason": chance.choice("rs")}
        elif kind == "estimate":
            data = {"queue": {"name": "q", "ahead": at, "workers": True}, "eta": {"jobs": at}}
        elif kind == "progress":
            data = {"bars": [{"n": at, "position": 1}] * chance.randint(0, 2)}
            if chance.random() < 0.5:
                data["meta"] = {chance.choice("xy"): at}
        elif kind == "succeeded":
            data = {"result": at}
        elif kind in TERMINAL:
            data = {"error": {"class": "E", "message": str(at)}, "reason": str(at)}
        if kind in TERMINAL and chance.random() < 0.4:
            data["verdict"] = True
        if kind == "cancelled" and chance.random() < 0.4:
            data = {"verdict": True, "waiting": True, "reason": str(at)}
        if kind == "retrying" and chance.random() < 0.5:
            data |= {"retry_at": at + 5, "error": {"class": "E", "message": "again"}}
        elif kind == "log":
            data = {"lines": [], "dropped": chance.randint(0, 2)}
        task = chance.choice(tasks)
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
    """Return what bridge/protocol/snapshot.py makes of the events, in the form of FOLD's answer."""
    news = [snapshot.apply(event) for event in events]
    given = snapshot.encode()
    return {
        "news": news,
        **{
            key: given[key]
            for key in (
                *("state", "total", "done", "name", "error", "dropped", "meta", "reason"),
                *("retry_at", "cancelling", "stalled", "disturbed", "queue", "eta"),
            )
        },
        "bars": given["bars"],
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


def close(found, wanted):
    """Whether both are the same but for the rounding of rates."""
    for one, other in zip(found.pop("bars"), wanted.pop("bars"), strict=True):
        assert one.keys() == other.keys()
        assert {name: one[name] for name in one} == pytest.approx(other, abs=0.2)
    return found == wanted


@pytest.mark.parametrize(
    ("tasks", "length", "count"), [(FEW, 26, 1000), (MANY, 600, 60)], ids=["few tasks", "many"]
)
def test_the_page_and_the_server_fold_alike(page, stack, tasks, length, count):
    chance = random.Random(20)
    stories, expected = [], []
    for number in range(count):
        events = story(chance, tasks, length)
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
        assert close(found, wanted), told
