"""An archive that an earlier version wrote: what is in it is found, and it goes on."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import MetaData, Text, cast, func, insert
from sqlalchemy.dialects.postgresql import ARRAY

from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive.finding.log import JobLog
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.tasks import JobTasks
from socket_server.archive.migrating import migrate, new_engine
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.watching.job_search import JobSearch
from support.archive import new_database, write
from support.process import ROOT
from support.searches import pages

#: Rows of each table, as the archive wrote them whose tables had this revision.
REVISION = "0001"
ROWS = ROOT / "tests" / "support" / "recorded" / f"archive-{REVISION}.json"
GRANT = Grant(owner="ann")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """URL of an archive with the recorded rows, which this version has migrated."""
    url = new_database(request.param, request)
    engine = new_engine(url)
    migrate(engine, REVISION)
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        for name, rows in json.loads(ROWS.read_text()).items():
            for row in rows:
                if "words" in row:
                    row = {**row, "words": words(row["words"], request.param)}
                connection.execute(insert(metadata.tables[name]).values(row))
    migrate(engine)
    engine.dispose()
    return url


def words(given, kind):
    """Return the words of a row as a kind of database has them."""
    if kind == "sqlite":
        return " ".join(given)
    return func.array_to_tsvector(cast(given, ARRAY(Text)))


class Server:
    """The parts of a server that read an archive, without a job of its own."""

    def __init__(self, archive):
        parts, pace = (Journal(), archive, NoLock()), Pace(lambda seconds: None)
        self._log, self._tasks = JobLog(*parts), JobTasks(*parts, pace)
        self._search = JobSearch(*parts, pace)

    def log(self, job):
        return b"".join(self._log.pieces(job, GRANT))

    def tasks(self, job):
        page = self._tasks.page({"job": job}, GRANT, 100_000)
        return {one["task"]: one for one in map(json.loads, page["tasks"])}

    def find(self, **request):
        found = pages(self._search, {"limit": 2, **request}, GRANT)
        return {job["job"]: job for page in found for job in page["answer"]["jobs"]}


def test_what_an_earlier_version_archived_is_found_and_its_jobs_go_on(url, request):
    archive = ArchiveSearch(url)
    request.addfinalizer(archive.close)
    server = Server(archive)
    assert list(server.find()) == ["canvas", "done"]
    assert list(server.find(text="größer line", state="succeeded")) == ["done"]
    done = server.find(text="größe")["done"]
    assert (done["state"], done["title"], done["result"]) == ("succeeded", "Größe", 7)
    assert server.log("done") == "line 1 \0 größer\nline 2\nprinted\n".encode() + b"\xff"
    tasks = server.tasks("canvas")
    mail = tasks["t\\2"]
    assert (tasks["canvas"]["parent"], mail["parent"]) == (None, "canvas")
    assert mail["queued_at"] < mail["started_at"]
    assert (mail["state"], mail["ended_at"]) == ("running", None)
    engine = new_engine(url)
    told = {"job": "canvas", "task": "t\\2", "name": "shop.mail", "owner": "ann"}
    end = Event(**told, type="succeeded", at=1_763_846_425.0, run=1_763_846_400_223_456, seq=2)
    write(engine, [end])
    engine.dispose()
    assert server.find()["canvas"]["state"] == "succeeded"
    assert server.tasks("canvas")["t\\2"] == {**mail, "state": "succeeded", "ended_at": end.at}
    assert server.log("canvas") == b"sent\n"
