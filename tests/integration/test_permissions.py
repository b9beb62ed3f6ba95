"""What each program's login to RabbitMQ, and to PostgreSQL, allows, and what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import kombu
import psycopg
import pytest
from amqp.exceptions import AccessRefused
from celery import states

from bridge import Bridge, Settings
from bridge.bus.write_only_manager import new_write_only_manager
from bridge.cancelling import cancel_mark
from bridge.client.status import from_result
from bridge.tokens import Grant
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.wanted import Wanted
from socket_server.liveness.worker_inspection import WorkerInspection
from support.archive import ArchiveStack, event, publishing
from support.process import ROOT
from support.rabbitmq import RabbitMQ
from support.stack import Stack
from support.topology import Topology
from support.wait import until
from support.watched import Watched
from workers.app import new_app

USERS = ("operator", "worker", "server", "service", "flower", "archive")
QUORUM = {"TASKBRIDGE_QUEUE_TYPE": "quorum"}
SCRIPT = ROOT / "compose" / "rabbitmq" / "definitions.py"


def define(folder):
    """Run the script with passwords of our own; return what it did."""
    command, environ = [sys.executable, SCRIPT, "--secrets", folder], {**os.environ, **QUORUM}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A RabbitMQ node with the definitions of production, read at each start."""
    folder = tmp_path_factory.mktemp("permissions")
    for user in USERS:
        (folder / user).write_text(f"secret-of-{user}\n")
    (folder / "definitions.json").write_text(define(folder).stdout)
    (folder / "rabbitmq").mkdir()
    login = "operator:secret-of-operator@tasks"
    node = RabbitMQ(folder / "rabbitmq", folder / "definitions.json", login)
    try:
        node.start()
        url = folder / "operator_events_url"
        url.write_text(f"amqp://operator:secret-of-operator@127.0.0.1:{node.port}/events\n")
        subprocess.run([sys.executable, SCRIPT, "--declare", url], check=True, cwd=folder)
        yield node
    finally:
        node.stop()


@pytest.fixture
def programs(node):
    """Settings of each user's programs."""
    return {
        user: {
            **QUORUM,
            "TASKBRIDGE_BROKER_URL": f"amqp://{user}:secret-of-{user}@127.0.0.1:{node.port}/tasks",
            "TASKBRIDGE_EVENTS_URL": f"amqp://{user}:secret-of-{user}@127.0.0.1:{node.port}/events",
        }
        for user in USERS
    }


@pytest.fixture
def stack(programs, new_stack):
    service = programs["service"]
    events = {"TASKBRIDGE_EVENTS_URL": service["TASKBRIDGE_EVENTS_URL"]}
    stack = new_stack(service["TASKBRIDGE_BROKER_URL"], **events, **QUORUM)
    stack.start_server(**programs["server"])
    stack.start_worker(**programs["worker"])
    return stack


def assert_works(stack):
    assert Watched(stack, "support.add", 1, 1).end()["state"] == "succeeded"


def test_a_broker_that_was_restarted_has_all_again_that_nobody_else_may_declare(node, stack):
    node.stop()
    node.start()
    until(stack.healthy, 30, "the server to read again")
    assert_works(stack)
    queues = node.control("list_queues", "-p", "tasks", "name", "type", "policy")
    assert "celery\tquorum\ttaskbridge" in queues.splitlines()
    assert '"delivery-limit":20' in node.control("list_policies", "-p", "tasks")


def test_a_job_is_run_and_watched_and_cancelled_with_no_more_rights_than_that(stack: Stack):
    assert_works(stack)
    waiting = Watched(stack, "support.linger", 60)
    waiting.until("progress")
    stack.bridge.cancel(waiting.id)
    assert waiting.end()["state"] == "cancelled"


def test_the_servers_user_may_ask_workers_about_tasks_and_the_services_may_not(stack, programs):
    job = Watched(stack, "support.linger", 60)
    job.pid()
    tasks = {job.id: None, "another": None}
    told = {
        user: WorkerInspection(Settings.from_environ(programs[user])).ask(tasks)
        for user in programs
    }
    assert told["server"] == {job.id: True, "another": False}
    assert told["service"] == {job.id: False, "another": False}
    messages = {job.id: "celery", "another": "celery"}
    looked = {
        user: WorkerInspection(Settings.from_environ(programs[user])).without_message(messages)
        for user in programs
    }
    assert looked["server"] == {"another"}
    assert looked["service"] == set()
    stack.bridge.cancel(job.id)


def test_an_account_with_the_rights_of_0_1_0_reports_though_it_may_not_ask_for_the_stream(
    node, programs
):
    node.control("set_permissions", "-p", "events", "service", "^$", "^taskbridge$", "^$")
    writer = new_write_only_manager(Settings.from_environ(programs["service"]))
    try:
        writer.emit("event", {})  # confirmed by the stream, to which it must be routed
    finally:
        writer.close()


@pytest.mark.parametrize("user", ["worker", "service"])
def test_who_only_reports_reads_no_events(node, programs, user):
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        with pytest.raises(AccessRefused):
            channel.basic_consume("taskbridge.stream", arguments={"x-stream-offset": "first"})
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        with pytest.raises(AccessRefused):
            channel.queue_declare("taskbridge.of-mine", exclusive=True)


def test_a_password_that_is_missing_is_named(tmp_path):
    done = define(tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"{tmp_path}/operator: No such file or directory: put the user's secret there\n"
    )


@pytest.fixture(scope="module")
def results():
    """PostgreSQL with the tables and logins of production, and some results."""
    topology = Topology()
    try:
        topology.start_postgresql()
        backend = new_app(settings_of(topology, "worker")).backend
        backend.store_result("t", {"rows": 7}, states.STARTED)
        backend.store_result("t", {"rows": 7}, states.SUCCESS)
        backend.mark_as_failure("f", ValueError("no"), traceback="with its secrets")
        yield topology
    finally:
        topology.stop()


def settings_of(topology, role):
    return Settings.from_environ(topology.environ(role))


def connect(topology, role):
    """Log in as a program does, without the program."""
    url = (topology.secrets / f"{role}_result_url").read_text()
    return psycopg.connect(url.replace("db+postgresql+psycopg", "postgresql"), autocommit=True)


def refused(topology, role, statement):
    """Whether PostgreSQL refuses a statement for want of rights."""
    return refused_to((topology.secrets / f"{role}_result_url").read_text(), statement)


def refused_to(login, statement):
    """Whether PostgreSQL refuses a statement to a login, which is a URL of SQLAlchemy."""
    url = login.removeprefix("db+").replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


READERS = pytest.mark.parametrize("role", ["server", "service"])


@READERS
def test_who_reads_results_reads_them_and_leaves_marks(results, role):
    with Bridge(settings=settings_of(results, role)) as bridge:
        found = from_result(bridge.app, "t")
        assert (found["state"], found["result"]) == ("succeeded", {"rows": 7})
        assert from_result(bridge.app, "f")["error"] == {"class": "ValueError", "message": "no"}
        assert from_result(bridge.app, "nothing") is None
        for _ in range(2):
            cancel_mark.store(bridge.app.backend, f"of-{role}")
        backend = new_app(settings_of(results, "worker")).backend
        assert cancel_mark.is_stored(backend, f"of-{role}")
        assert backend.get_state(f"taskbridge-cancelled-of-{role}") == states.SUCCESS


ROW = "INSERT INTO celery_taskmeta (id, task_id, status{}) VALUES (9, '{}', '{}'{})"
MARK = "taskbridge-cancelled-x"
CHECKPOINT = "INSERT INTO taskbridge_checkpoints VALUES ('t', 1, 1, '{}', 0)"
#: What neither a worker nor who reads results may do.
NOBODY = {
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "run a program and read it": "COPY celery_taskmeta (task_id) FROM PROGRAM 'id'",
    "write a file": "COPY (SELECT 1) TO '/tmp/taskbridge-written'",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "list a folder": "SELECT pg_ls_dir('/')",
    "load a file": "SELECT lo_import('/etc/passwd')",
    "make a table": "CREATE TABLE mine (a int)",
    "make a temporary table": "CREATE TEMP TABLE mine (a int)",
    "make a function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "make a login": "CREATE ROLE mine LOGIN",
    "make a database": "CREATE DATABASE mine",
    "be another": "SET ROLE taskbridge",
    "be superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "drop a table": "DROP TABLE celery_taskmeta",
    "change a table": "ALTER TABLE celery_taskmeta ADD COLUMN mine int",
    "lift the rules of rows": "ALTER TABLE celery_taskmeta DISABLE ROW LEVEL SECURITY",
    "change the settings": "ALTER SYSTEM SET log_statement = 'all'",
}
#: What who reads results may not do besides.
READER = {
    "change a result": "UPDATE celery_taskmeta SET status = 'FAILURE'",
    "lock a result": "SELECT task_id FROM celery_taskmeta FOR UPDATE",
    "delete a result": "DELETE FROM celery_taskmeta",
    "delete all": "TRUNCATE celery_taskmeta",
    "store a result": ROW.format("", "another", "SUCCESS", ""),
    "store a failure as a mark": ROW.format("", MARK, "FAILURE", ""),
    "store a result in a mark": ROW.format(", result", MARK, "SUCCESS", ", 'x'"),
    "store arguments in a mark": ROW.format(", args", MARK, "SUCCESS", ", 'x'"),
    "make a mark of a result": (
        ROW.format("", "t", "SUCCESS", "") + " ON CONFLICT (task_id) DO UPDATE SET status = 'X'"
    ),
    "read checkpoints": "SELECT * FROM taskbridge_checkpoints",
    "store a checkpoint": CHECKPOINT,
    "remove checkpoints": "DELETE FROM taskbridge_checkpoints",
    "store a group": "INSERT INTO celery_tasksetmeta (id, taskset_id) VALUES (9, 'g')",
    "set the count of rows": "SELECT setval('task_id_sequence', 1)",
}
#: What a service may read, and a server may not.
SERVICE = {
    "read a traceback": "SELECT traceback FROM celery_taskmeta",
    "read arguments": "SELECT args, kwargs FROM celery_taskmeta",
    "read all": "SELECT * FROM celery_taskmeta",
    "read groups": "SELECT * FROM celery_tasksetmeta",
}


@READERS
@pytest.mark.parametrize("statement", [*NOBODY.values(), *READER.values()], ids=NOBODY | READER)
def test_who_reads_results_can_do_nothing_else(results, role, statement):
    assert refused(results, role, statement)


@pytest.mark.parametrize("statement", SERVICE.values(), ids=SERVICE)
def test_a_service_reads_what_celery_asks_for_and_a_server_less(results, statement):
    assert refused(results, "server", statement)
    assert not refused(results, "service", statement)


def test_a_service_asks_celery_itself(results):
    with Bridge(settings=settings_of(results, "service")) as bridge:
        assert bridge.app.AsyncResult("t").get(timeout=10) == {"rows": 7}


#: What the archive may do in its own schema.
ITS_OWN = ("make a table", "make a function")
ARCHIVE = {
    **{what: statement for what, statement in NOBODY.items() if what not in ITS_OWN},
    "make a table beside its schema": "CREATE TABLE public.mine (a int)",
    "make a function beside it": NOBODY["make a function"].replace(" f", " public.f"),
    "read results": "SELECT task_id FROM public.celery_taskmeta",
}
SEARCHER = {
    "change the archive": "UPDATE archive_jobs SET owner = 'server'",
    "remove from the archive": "DELETE FROM archive_lines",
    "make a table in its schema": "CREATE TABLE archive.mine (a int)",
}


def test_the_archive_is_written_by_its_login_and_read_by_servers_and_by_nobody_else(
    results, programs, tmp_path
):
    """It reads the stream with a login of its own, too."""
    logins = {
        role: (results.secrets / f"{role}_archive_url").read_text()
        for role in ("archive", "server")
    }
    events = {"TASKBRIDGE_EVENTS_URL": programs["archive"]["TASKBRIDGE_EVENTS_URL"]}
    stack = ArchiveStack(tmp_path / "stack", None, logins["archive"], **events)
    try:
        stack.start_archive()
        service = Settings.from_environ(programs["operator"])
        with publishing(service) as scribe:
            scribe.send(event("of-mine", "started", 0, attempt=1))
        with closing(ArchiveSearch(logins["server"])) as search:
            grant = Grant(jobs=frozenset({"of-mine"}))
            until(lambda: search.log("of-mine", grant), 30, "the job in the archive")
            assert [one.job for one in search.find(Wanted(name="app.work"), None, 9)] == ["of-mine"]
    finally:
        stack.stop()
    for what, statement in ARCHIVE.items():
        named = statement.replace(" celery_", " public.celery_")
        assert refused_to(logins["archive"], named), what
    for what, statement in SEARCHER.items():
        assert refused_to(logins["server"], statement), what
    assert refused(results, "worker", "SELECT job FROM archive.archive_jobs")
    assert refused(results, "service", "SELECT job FROM archive.archive_jobs")


@pytest.mark.parametrize("statement", NOBODY.values(), ids=NOBODY)
def test_a_worker_stores_results_and_can_do_nothing_else(results, statement):
    assert refused(results, "worker", statement)


def test_a_worker_stores_deletes_and_cleans_up(results):
    backend = new_app(settings_of(results, "worker")).backend
    backend.store_result("gone", 1, states.SUCCESS)
    backend.forget("gone")
    backend.cleanup()
    assert backend.get_state("gone") == states.PENDING


def test_logins_are_made_again_with_other_passwords_and_no_result_is_lost(results):
    with connect(results, "operator") as connection:
        connection.execute("GRANT UPDATE ON celery_taskmeta TO server")
        connection.execute("ALTER ROLE worker CREATEDB")
    results.make_roles()
    assert refused(results, "server", READER["change a result"])
    assert refused(results, "worker", NOBODY["make a database"])
    with Bridge(settings=settings_of(results, "server")) as bridge:
        assert from_result(bridge.app, "t")["state"] == "succeeded"


def test_a_database_without_tables_holds_no_results(results):
    url = (results.secrets / "server_result_url").read_text().removesuffix("/taskbridge")
    settings = Settings(result_url=f"{url}/postgres", broker_url="memory://")
    with Bridge(settings=settings) as bridge:
        assert from_result(bridge.app, "t") is None
