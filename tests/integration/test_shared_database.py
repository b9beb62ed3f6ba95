"""A database that jobs of several owners fill: a real PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import workers.jobs.import_csv as module
from bridge.errors import InputError
from support.granted import granted
from support.reporting import inside_job
from support.topology import Topology
from workers.jobs.import_csv import import_csv


@pytest.fixture(scope="module")
def postgresql():
    """Address of a database, without the scheme of its URL."""
    topology = Topology()
    try:
        topology.start_postgresql()
        password = (topology.secrets / "postgresql").read_text()
        yield f"taskbridge:{password}@{topology.ip['postgresql']}/taskbridge"
    finally:
        topology.stop()


@pytest.fixture
def path(tmp_path, postgresql):
    """A CSV file, and an operator who named databases."""
    (tmp_path / "people.csv").write_text("name,age\nAda,36\n")
    wrong = postgresql.replace("taskbridge:", "taskbridge:not-")
    names = {"shared": postgresql, "locked": wrong}
    databases = ",".join(f"{n}=postgresql+psycopg://{url}" for n, url in names.items())
    with granted(tmp_path, databases=databases):
        yield "people.csv"


def asked(owner, path, **options):
    """Run the job for an owner; return its result, or the sentence with which it refuses."""
    with inside_job(f"job of {owner}", owner=owner):
        try:
            return import_csv(path, "shared", **options)["rows"]
        except InputError as error:
            return str(error)


def taken(table):
    return f"The name of the table {table} is taken: choose another table."


def test_a_table_is_its_owners_alone(path, postgresql):
    with psycopg.connect(f"postgresql://{postgresql}", autocommit=True) as operator:
        operator.execute("CREATE TABLE orders (id int)")
    assert asked("ann", path, table="mine") == 1
    assert asked("ann", path, table="mine", if_exists="append") == 1
    for table in ("mine", "orders", "taskbridge_tables"):
        for if_exists in ("fail", "append", "replace"):
            assert asked("bob", path, table=table, if_exists=if_exists) == taken(table)
    assert asked("ann", path, table="mine", if_exists="replace") == 1


def test_a_table_that_is_called_as_one_of_postgresqls_own_is_another(path, postgresql):
    with psycopg.connect(f"postgresql://{postgresql}", autocommit=True) as operator:
        before = operator.execute("SELECT count(*) FROM pg_catalog.pg_namespace").fetchone()
        for if_exists in ("fail", "append", "replace"):
            assert asked("ann", path, table="pg_namespace", if_exists=if_exists) == 1
        after = operator.execute("SELECT count(*) FROM pg_catalog.pg_namespace").fetchone()
        assert (before, after) == (after, before)
        mine = operator.execute("SELECT name, age FROM public.pg_namespace").fetchall()
        assert mine == [("Ada", 36)]
        operator.execute("DROP TABLE public.pg_namespace")


@pytest.mark.parametrize("first", [True, False], ids=["the first table of all", "a later one"])
def test_of_two_owners_who_make_a_table_at_once_one_gets_it(path, postgresql, monkeypatch, first):
    if first:
        with psycopg.connect(f"postgresql://{postgresql}", autocommit=True) as operator:
            operator.execute("DROP TABLE IF EXISTS taskbridge_tables")
    both, real = threading.Barrier(2), module._types

    def types(*arguments):
        both.wait(20)  # both have looked: there is no such table
        return real(*arguments)

    monkeypatch.setattr(module, "_types", types)
    table = f"race_{first}".lower()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda owner: asked(owner, path, table=table), ["ann", "bob"]))
    assert sorted(done, key=str) == [1, taken(table)]
    monkeypatch.undo()
    winner = ["ann", "bob"][done.index(1)]
    for owner in ("ann", "bob"):
        expected = 1 if owner == winner else taken(table)
        assert asked(owner, path, table=table, if_exists="append") == expected


def test_a_job_that_fails_leaves_no_table_and_no_name_taken(path, monkeypatch):
    def failing(*arguments):
        raise InputError("it failed")

    monkeypatch.setattr(module, "_fill", failing)
    assert asked("ann", path, table="none") == "it failed"
    monkeypatch.undo()
    assert asked("bob", path, table="none") == 1


def test_no_address_of_the_database_is_in_an_error(path, postgresql):
    with pytest.raises(InputError) as error:
        import_csv(path, "locked")
    assert "The database locked cannot be reached (OperationalError)" in str(error.value)
    address = postgresql.partition("@")[2].partition("/")[0]
    assert address not in str(error.value)
    assert "password" not in str(error.value)
