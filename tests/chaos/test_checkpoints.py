"""An attempt goes on where the last one stopped, however that one ended."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from bridge.checkpoints.stores import store_in
from support.link import Link
from support.memory_limit import run_out_of_memory
from support.process import children_of
from support.stack import Stack
from support.topology import Topology
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(300)

#: Rows that an attempt may do after its last stored checkpoint: what it did in a tenth of a second,
#: and while the store was slow.
LAG = 40
BACKENDS = ("redis", "postgresql")
QUICK = {
    "TASKBRIDGE_STALLED_AFTER": "2",
    "TASKBRIDGE_LOST_AFTER": "6",
    "TASKBRIDGE_STOP_GRACE": "1",
    "TASKBRIDGE_CANCEL_GRACE": "0.5",
}


@pytest.fixture(scope="module")
def databases():
    """URLs of result backends: PostgreSQL's is started when it is asked for."""
    topology = Topology()

    def started():
        if "postgresql" not in topology.processes:
            topology.start_postgresql()

    def postgresql():
        started()
        # The login of workers, which can make no table.
        password = (topology.secrets / "postgresql_worker").read_text()
        return f"db+postgresql+psycopg://worker:{password}@{topology.ip['postgresql']}/taskbridge"

    def shop():
        started()
        password = (topology.secrets / "postgresql").read_text()
        return f"postgresql+psycopg://taskbridge:{password}@{topology.ip['postgresql']}/taskbridge"

    postgresql.shop = shop
    try:
        yield postgresql
    finally:
        topology.stop()


@pytest.fixture(scope="module", params=BACKENDS)
def served(request, rabbitmq, databases, tmp_path_factory):
    """A server on RabbitMQ, with results in PostgreSQL or Redis."""
    redis = request.getfixturevalue("redis_server") if request.param == "redis" else None
    results = redis.url if redis else databases()
    folder = tmp_path_factory.mktemp("checkpoints")
    shop = f"shop={databases.shop()}"
    variables = {"TASKBRIDGE_RESULT_URL": results, "TASKBRIDGE_DATABASES": shop}
    stack = Stack(folder, rabbitmq.new_vhost(), **variables, **QUICK)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(served):
    """The server and two workers, new ones in place of those that were ended."""
    for _ in range(2 - len(workers_of(served))):
        start_worker(served)
    return served


def workers_of(stack):
    """Return the workers that run."""
    return [worker for worker in stack.processes[1:] if worker.running]


def worker_of(stack, job):
    """Return the worker that runs a job."""
    pid = job.pid()
    return next(worker for worker in workers_of(stack) if pid in children_of(worker.pid))


def start_worker(stack, **variables):
    """Start a worker as in production, of one process."""
    quick = ["--concurrency", "1", "--without-mingle", "--without-gossip"]
    worker = stack.start("worker", *stack.command("worker", *quick), **variables)
    worker.await_output("ready.")
    return worker


def begun(stack, file, *arguments):
    """Enqueue a job of rows; return it once a third of them is done, and saved."""
    job = Watched(stack, "support.resume", str(file), *arguments)
    job.pid()
    job._read(lambda _: done(job) > 30 and job.watcher.snapshot.saved)
    return job


def done(job):
    return next((bar["n"] for bar in job.watcher.snapshot.bars), 0)


def rows_of(file):
    """Return the rows that each attempt has done."""
    found = {}
    for line in file.read_text().split("\n")[:-1]:
        attempt, row = line.split()
        found.setdefault(attempt, []).append(int(row))
    return found


def assert_went_on(job, file, rows, lag=LAG):
    """The second attempt began near the end of the first; no row is left out; clients saw it."""
    snapshot = job.end()
    assert snapshot["state"] == "succeeded", (snapshot, job.types)
    first, second = rows_of(file).values()
    assert first == list(range(len(first)))
    assert second == list(range(second[0], rows))
    assert len(first) - lag <= second[0] <= len(first), (len(first), second[0])
    resumed = snapshot["tasks"][0]["resumed"]
    assert resumed["share"] == pytest.approx(second[0] / rows, abs=lag / rows)
    # Where a client sees the bar of the second attempt, it is not at 0 but there.
    newer = [e for e in job.told if e["type"] == "progress" and e["data"].get("resumed")]
    counts = [bar["n"] for event in newer for bar in event["data"]["bars"]]
    assert second[0] <= min(counts)
    assert max(counts) == rows


def record_of(stack, job):
    """Return what the store holds of a job's task, without a change; None for nothing."""
    store = store_in(stack.bridge.app.backend, 3600)
    if hasattr(store, "_found"):
        return store._found(job.id)[2]
    return store._backend.client.hget(
        store._backend.get_key_for_task(f"taskbridge-checkpoint-{job.id}"), "body"
    )


REDIS, POSTGRESQL = (pytest.mark.parametrize("served", [one], indirect=True) for one in BACKENDS)


@pytest.mark.parametrize(
    ("served", "how"),
    [("redis", "process"), ("redis", "deployment"), ("postgresql", "worker")],
    indirect=["served"],
)
def test_after_a_death_or_a_deployment_the_next_attempt_goes_on(stack, tmp_path, how):
    job = begun(stack, tmp_path / "rows", 150, 0.02)
    if how == "process":
        os.kill(job.pid(), signal.SIGKILL)
    elif how == "worker":
        worker_of(stack, job).kill()
    else:
        worker_of(stack, job).signal(signal.SIGTERM)
    assert_went_on(job, tmp_path / "rows", 150)
    until(lambda: record_of(stack, job) is None, 30, "the checkpoint to be cleared")


@REDIS
def test_a_retry_goes_on_from_the_very_row_and_success_clears_it(stack, tmp_path):
    job = Watched(stack, "support.resume", str(tmp_path / "rows"), 30, 0.01, "retry")
    assert_went_on(job, tmp_path / "rows", 30, lag=0)
    until(lambda: record_of(stack, job) is None, 30, "the checkpoint to be cleared")


@REDIS
def test_a_failure_keeps_what_was_saved(stack, tmp_path):
    job = Watched(stack, "support.resume", str(tmp_path / "rows"), 30, 0.0, "fail")
    assert job.end()["state"] == "failed"
    until(lambda: b'"state":{"done":15}' in (record_of(stack, job) or b""), 30, "the last state")


@REDIS
def test_a_cancel_by_force_clears_what_was_saved(stack, tmp_path):
    job = Watched(stack, "support.resume", str(tmp_path / "rows"), 30, 0.0, "deaf")
    until(lambda: b'"state":{"done":15}' in (record_of(stack, job) or b""), 20, "the last state")
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"
    until(lambda: record_of(stack, job) is None, 30, "the checkpoint to be cleared")


@POSTGRESQL
def test_a_frozen_first_attempt_that_thaws_changes_nothing(stack, tmp_path):
    """Its worker loses its connection, and the broker delivers the task to another one."""
    file = tmp_path / "rows"
    port = int(stack.settings.broker.rpartition(":")[2].partition("/")[0])
    with Link(port) as link:
        over_link = stack.settings.broker.replace(f":{port}/", f":{link.port}/")
        for worker in workers_of(stack):
            worker.kill()
        frozen = start_worker(stack, TASKBRIDGE_BROKER_URL=over_link)
        job = begun(stack, file, 150, 0.02)
        frozen.freeze()
        link.cut()
        start_worker(stack)
        job._read(lambda event: event["data"].get("resumed") and done(job) < 140)
        link.swallow()
        frozen.thaw()
        snapshot = job.end()
        until(lambda: len(rows_of(file).get("00", ())) == 150, 30, "the first attempt to end")
        assert snapshot["state"] == "succeeded"
        second = rows_of(file)["01"]
        assert second == list(range(second[0], 150))
        assert second[0] > 0
        frozen.await_output("a newer attempt of the task runs")
        until(lambda: record_of(stack, job) is None, 30, "the checkpoint to be cleared")


#: Files, rows and pictures of the reference jobs: each takes some seconds.
FILES, ROWS, PICTURES = 80, 60_000, 80


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What the reference jobs read, in a folder that the workers may read."""
    folder = tmp_path_factory.mktemp("inputs")
    for kind in ("files", "pictures"):
        (folder / kind).mkdir()
    for number in range(FILES):
        with (folder / "files" / f"{number:03}").open("wb") as file:
            file.write(bytes([number]))
            file.truncate(8_000_000)  # a hole, which takes time to hash and no room
    lines = (f"{number},name {number},{number / 8}\n" for number in range(ROWS))
    (folder / "rows.csv").write_text("id,name,value\n" + "".join(lines))
    for number in range(PICTURES):
        shade = (number, 255 - number, 128)
        Image.new("RGB", (1200, 900), shade).save(folder / "pictures" / f"{number:03}.jpg")
    return folder


class Reference:
    """A reference job: what it is asked, and what it has made.

    Args:
        stack: where.
        inputs: what it reads.
        name: its name.
    """

    def __init__(self, stack, inputs, name):
        self.stack, self.name = stack, name
        self.shop = dict(stack.settings.databases)["shop"]
        self.table = f"t{random.randrange(10**9)}"
        arguments = {
            "checksum": [str(inputs / "files"), "manifest"],
            "import_csv": [str(inputs / "rows.csv"), "shop", self.table],
            "thumbnails": [str(inputs / "pictures"), "out"],
        }
        self.job = Watched(stack, f"workers.jobs.{name}", *arguments[name])

    def reach(self, share):
        """Wait until a share of its files, rows or tasks is done."""
        names = {"checksum": "files", "import_csv": "rows", "thumbnails": "tasks"}
        self.job._read(
            lambda _: any(
                bar["desc"] == names[self.name] and bar["n"] > share * bar["total"]
                for bar in self.job.watcher.snapshot.bars
            )
        )

    def made(self):
        """Read to its end; return its result, and all that it has made."""
        snapshot = self.job.end()
        assert snapshot["state"] == "succeeded", (snapshot, self.job.types)
        result = snapshot["result"]
        places = ("manifest", "database", "table", "output", "contact_sheet")
        told = {name: value for name, value in result.items() if name not in places}
        return told, getattr(self, f"_{self.name}")(result)

    def _checksum(self, result):
        return Path(result["manifest"]).read_bytes()

    def _import_csv(self, result):
        query = f"SELECT * FROM {self.table}"
        with psycopg.connect(self.shop.replace("+psycopg", "")) as database:
            # Not as they are stored: the room of a batch that was rolled back may be used again.
            return database.execute(f"{query} ORDER BY id, name, value").fetchall()

    def _thumbnails(self, result):
        folder = Path(result["output"])
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def assert_near(self):
        """Each later attempt began where the last saved state of the one before was."""
        bars, saved, attempt = [], 0.0, None
        for event in self.job.told:
            data = event["data"]
            if event["type"] != "progress" or event["task"] != self.job.id:
                continue
            shown = [bar["n"] for bar in data["bars"] if bar["desc"] in ("files", "rows")]
            if attempt not in (None, event["run"]) and saved and shown:
                least = max((n for at, n in bars if at < saved), default=0)
                assert shown[0] >= least - 1, (shown, bars, saved)
                bars = []
            if shown:
                attempt = event["run"]
                bars += [(event["at"], shown[0])]
            saved = data.get("saved", saved)


def busiest(workers):
    """Return the worker that runs the task, and the process in which it does."""
    before = {pid: ticks_of(pid) for one in workers for pid in children_of(one.pid)}

    def grown(pid):
        return ticks_of(pid) - before[pid]

    until(lambda: any(map(grown, before)), 30, "a process that does something", interval=0.01)
    pid = max(before, key=grown)
    return next(one for one in workers if pid in children_of(one.pid)), pid


def disturb(stack, how, link, job):
    """Do something to the worker that runs a job, or to one of them; return it."""
    worker, pid = busiest(workers_of(stack))
    if how == "process":
        os.kill(pid, signal.SIGKILL)
    elif how == "memory":
        run_out_of_memory(pid)
    elif how == "worker":
        worker.kill()
    elif how == "deployment":
        worker.signal(signal.SIGTERM)
    else:
        link.cut()
    return worker


def ticks_of(pid):
    """Return the CPU time that a process has used, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def undisturbed(stack, inputs, name, known={}):  # noqa: B006 - a cache
    """Return what a job makes that nothing happens to."""
    key = stack.port, name
    if key not in known:
        known[key] = Reference(stack, inputs, name).made()
    return known[key]


def assert_unharmed(stack, inputs, name, how, link=None):
    """Do something at a random moment of a job: what it makes is what it makes undisturbed."""
    wanted = undisturbed(stack, inputs, name)
    job = Reference(stack, inputs, name)
    job.reach(random.uniform(0, 0.8))
    worker = disturb(stack, how, link, job)
    made = job.made()
    if how == "deployment":
        worker.wait(60)  # one that ends must not count as the spare of a later moment
    assert made[0] == wanted[0], (name, how)
    assert made[1] == wanted[1], (name, how)
    job.assert_near()


@pytest.mark.parametrize(
    ("served", "name", "how"),
    [
        ("redis", "checksum", "deployment"),
        ("postgresql", "import_csv", "memory"),
    ],
    indirect=["served"],
)
def test_a_reference_job_makes_the_same_whatever_happens_to_its_worker(stack, inputs, name, how):
    assert_unharmed(stack, inputs, name, how)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("how", ["process", "memory", "worker", "deployment", "connection"])
@pytest.mark.parametrize("name", ["checksum", "import_csv", "thumbnails"])
@pytest.mark.parametrize("served", BACKENDS, indirect=True)
def test_a_reference_job_makes_the_same_at_twenty_moments(served, inputs, name, how):
    port = int(served.settings.broker.rpartition(":")[2].partition("/")[0])
    with Link(port) as link:
        over_link = served.settings.broker.replace(f":{port}/", f":{link.port}/")
        for worker in workers_of(served):
            worker.kill()
        for _ in range(int(os.environ.get("CHECKPOINT_MOMENTS", "20"))):
            for _ in range(2 - len(workers_of(served))):
                start_worker(served, TASKBRIDGE_BROKER_URL=over_link)
            assert_unharmed(served, inputs, name, how, link)
        for worker in workers_of(served):
            worker.kill()  # without the link they are of no use to another test
