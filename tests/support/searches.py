"""Jobs of several owners, and searches among them, with what each is to find."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive.finding.asked import AskedSnapshot
from socket_server.archive.finding.wanted import ArchiveUnavailable, Found
from socket_server.watching.job_search import JobSearch, answer_of
from socket_server.watching.search_request import wanted_of

__all__ = ["Away", "Known", "matches", "pages", "searched_jobs", "searches"]

OWNERS = ("ann", "bob\\", "Bob")
WORDS = ("disk", "full", "Größe", "timeout_ms", "x1")


@dataclass(frozen=True)
class Known:
    """A job that is in the journal, in the archive, or in both."""

    job: str
    owner: str
    name: str
    at: float
    state: str
    line: str
    held: bool
    archived: bool

    @property
    def events(self) -> list[Event]:
        """Its events."""
        told = {"job": self.job, "task": self.job, "name": self.name, "owner": self.owner}
        lines = {"lines": [{"at": self.at, "level": "INFO", "message": self.line}]}
        made = [
            Event(**told, type="queued", at=self.at),
            Event(**told, type="started", at=self.at + 1, run=1),
            Event(**told, type="log", at=self.at + 1, run=1, seq=1, data=lines),
        ]
        end = [Event(**told, type=self.state, at=self.at + 2, run=1, seq=2)]  # type: ignore[arg-type]
        return made + end * (self.state != "running")


@st.composite
def searched_jobs(draw: Any) -> list[Known]:
    """Return some jobs."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        places = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
        line = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=3)))
        made = Known(
            job=f"j{number}",
            owner=draw(st.sampled_from(OWNERS)),
            name=draw(st.sampled_from(["app.a", "app.b"])),
            at=float(draw(st.integers(100, 105))),
            state=draw(st.sampled_from(["running", "failed", "succeeded"])),
            line=line,
            held=places[0],
            archived=places[1],
        )
        found.append(made)
    return found


@st.composite
def searches(draw: Any) -> dict[str, Any]:
    """Return the fields of a request."""
    choices = {
        "state": st.sampled_from(["failed", "running", "queued"]),
        "name": st.sampled_from(["app.a", "app"]),
        "text": st.lists(st.sampled_from([*WORDS, "a", "nowhere"]), min_size=1, max_size=2).map(
            " ".join
        ),
        "since": st.integers(99, 106),
        "until": st.integers(99, 106),
    }
    asked = draw(st.sets(st.sampled_from(sorted(choices))))
    return {"limit": draw(st.integers(1, 4)), **{name: draw(choices[name]) for name in asked}}


def matches(one: Known, request: dict[str, Any], owner: str | None) -> bool:
    """Whether a search is to find a job."""
    said = f"{one.job} {one.name} {one.line}".lower().replace(".", " ").replace("_", " ").split()
    words = request.get("text", "").lower().replace("_", " ").split()
    return (
        owner in (None, one.owner)
        and request.get("state", one.state) == one.state
        and request.get("name", one.name) == one.name
        and set(words) <= set(said)
        and request.get("since", 0) <= one.at < request.get("until", 1e9)
    )


def pages(search: JobSearch, request: dict[str, Any], grant: Grant) -> list[Any]:
    """Return what each page of a search says, until the last, as a client gets it."""
    found: list[Any] = []
    while not found or found[-1]["answer"].get("next"):
        following = found[-1]["answer"]["next"] if found else None
        asked = {**request, "next": following}
        wanted = wanted_of(asked, grant)
        page = search.page(wanted, asked)
        answer = answer_of(page, search.counts(wanted))
        answer["jobs"] = [json.loads(one) for one in answer["jobs"]]
        found.append({"answer": answer, "cost": page.cost})
        assert len(found) < 100
    return found


class Away:
    """An archive that does not answer."""

    def find(self, *_: object) -> list[Found]:
        """Raise."""
        raise ArchiveUnavailable("it is away")

    snapshots = log = lines = tasks = find

    def ask(self, *_: object) -> AskedSnapshot:
        """Return a question that is never answered."""
        return AskedSnapshot(None)
