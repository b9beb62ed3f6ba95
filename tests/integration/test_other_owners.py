"""What PostgreSQL reads for a guest does not tell how many jobs others have, or what is in them."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text

from bridge.tokens import Grant
from socket_server.archive.finding.wanted import Wanted
from socket_server.archive.schema import JOBS, LINES, TASKS, WORDS
from support.archive import PromptSearch, new_database, prepared, write
from support.searches import Known

ANN = Grant(owner="ann", scope="watch")
#: Jobs of others, at first and after another eight times as many.
FIRST, COPIES = 500, 8
#: What a guest asks: about jobs of others by their ids, and for own jobs by what all jobs have.
QUESTIONS = {
    "log": lambda archive: archive.log("bob7", ANN),
    "tasks": lambda archive: archive.tasks("bob7", ANN, "", 100),
    "snapshot": lambda archive: archive.ask("bob7", ANN).snapshot(),
    "call": lambda archive: archive.calls(["bob7", "bob8"], ANN),
    "all": lambda archive: archive.find(Wanted("ann"), None, 5),
    "state": lambda archive: archive.find(Wanted("ann", state="failed"), None, 5),
    "words": lambda archive: archive.find(Wanted("ann", words=("disk", "full")), None, 5),
    "time": lambda archive: archive.find(
        Wanted("ann", state="failed", words=("disk",), since=99.0, until=9e9), None, 5
    ),
    "name": lambda archive: archive.find(Wanted("ann", name="app.a", words=("no",)), None, 5),
}


class Pages:
    """Counts the pages that PostgreSQL reads for the statements of an archive's search."""

    def __init__(self, archive: PromptSearch) -> None:
        self.count = 0
        event.listen(archive._engine, "before_cursor_execute", self._explain)

    def _explain(self, connection, cursor, statement, parameters, *_):
        if not statement.startswith("EXPLAIN"):
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            plan = cursor.fetchone()[0][0]["Plan"]
            self.count += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    def of(self, question, archive):
        """Return a question's answer, and how many pages were read for it."""
        before = self.count
        return question(archive), self.count - before


def copy(engine):
    """Copy the jobs of the other owner under other ids."""
    with engine.begin() as connection:
        for table in (JOBS, TASKS, LINES, WORDS):
            columns = [one.name for one in table.c if one.name != "id"]
            for number in range(COPIES):
                values = ", ".join(
                    f"job || '-{number}'" if one == "job" else one for one in columns
                )
                statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
                where = "job LIKE 'bob%' AND job NOT LIKE '%-%'"
                connection.execute(text(f"{statement} FROM {table} WHERE {where}"))


def settle(engine):
    """Let PostgreSQL know what is in the tables, as it does by itself after a while."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


@pytest.fixture
def engine(request):
    """The engine of an archive with a few jobs of a guest among many of another owner."""
    url = new_database("postgresql", request)
    engine = prepared(url)
    told = {"name": "app.a", "state": "failed", "line": "disk full", "held": False}
    owners = ["ann"] * 20 + ["bob"] * FIRST
    jobs = [
        Known(f"{owner}{n}", owner, at=100.0 + n, archived=True, **told)
        for n, owner in enumerate(owners)
    ]
    write(engine, [event for one in jobs for event in one.events])
    yield engine
    engine.dispose()


def test_the_pages_that_are_read_for_a_guest_do_not_grow_with_the_jobs_of_others(request, engine):
    archive = PromptSearch(engine.url.render_as_string(hide_password=False))
    request.addfinalizer(archive.close)
    pages = Pages(archive)
    settle(engine)
    few = {name: pages.of(question, archive) for name, question in QUESTIONS.items()}
    copy(engine)
    settle(engine)
    many = {name: pages.of(question, archive) for name, question in QUESTIONS.items()}
    assert {name: answer for name, (answer, _) in many.items()} == {
        name: answer for name, (answer, _) in few.items()
    }
    grown = {name: (few[name][1], read) for name, (_, read) in many.items()
             if read > 1.5 * few[name][1] + 10}  # fmt: skip
    assert not grown
