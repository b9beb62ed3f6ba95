"""The CSV import job into real SQLite files, without a broker."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Ignore
from sqlalchemy.exc import OperationalError

import workers.databases.filling
import workers.databases.sql_target
import workers.files.csv_file
import workers.jobs.import_csv as module
from bridge import JobCancelled, Settings, job
from bridge.errors import InputError
from bridge.instrumentation import installed
from bridge.protocol.event import MAX_RESULT_BYTES, finite_json
from bridge.testing import record
from support.granted import OWNER, granted
from support.reporting import recorded_bars, recorded_lines
from support.rights import no_rights, reachable_folder
from workers.jobs.import_csv import import_csv


@pytest.fixture(autouse=True)
def own(tmp_path: Path) -> Iterator[Path]:
    """The folder of the job that runs; the operator named a database ``shared`` and others."""
    names = {
        "shared": f"sqlite:///{tmp_path}/shared.db",
        "patient": f"sqlite:///{tmp_path}/shared.db?timeout=0.01",
        "other": f"sqlite:///{tmp_path}/other",
        "nowhere": "sqlite:////no/such/folder/x.db",
        "shut": "sqlite:////proc/x.db",
        "nodialect": "nodialect://me:secret@host/db",
        "port": "postgresql://me:secret@host:port/db",
        "host": "sqlite://host/db",
        "away": "postgresql+psycopg://me:secret@127.0.0.1:1/db",
    }
    with granted(tmp_path, databases=",".join(f"{n}={url}" for n, url in names.items())) as own:
        yield own


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The file of the database ``shared``."""
    return tmp_path / "shared.db"


def left(own: Path) -> list[str]:
    """Names of what a job left behind."""
    return [path.name for path in own.iterdir()] if own.exists() else []


def csv_file(folder: Path, text: str | bytes, name: str = "people.csv") -> Path:
    """A file with that text in UTF-8, or with those bytes."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(database: Path, table: str = "people") -> list[tuple[Any, ...]]:
    """All rows of a table of an SQLite file."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(f'SELECT * FROM "{table}"').fetchall()
    finally:
        connection.close()


def tables(database: Path) -> list[str]:
    """Names of the tables of an SQLite file, but for those of owners and of rows on their way."""
    found = [(kind, name) for kind, name, *_ in rows(database, "sqlite_master")]
    own = ("taskbridge_tables", "taskbridge_imports")
    return [name for kind, name in found if kind == "table" and name not in own]


def granted_to(owner: str, folder: Path) -> AbstractContextManager[Path]:
    """Run as a job of another owner, with the same database ``shared``."""
    return granted(folder, owner=owner, databases=f"shared=sqlite:///{folder}/shared.db")


def refused(*args: Any, **kwargs: Any) -> str:
    """The sentence with which the job refuses."""
    with pytest.raises(InputError) as error:
        import_csv(*args, **kwargs)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_its_name_is_the_public_one() -> None:
    assert import_csv.name == "workers.jobs.import_csv"


def test_a_file_becomes_a_table_of_an_sqlite_file_in_the_jobs_folder(
    tmp_path: Path, own: Path
) -> None:
    path = csv_file(tmp_path, "name,age\nAda,36\nGrace,\n")
    database = own / "people.sqlite"
    assert import_csv(str(path)) == {
        "rows": 2,
        "skipped": 0,
        "table": "people",
        "columns": {"name": "text", "age": "integer"},
        "database": str(database),
    }
    assert rows(database) == [("Ada", 36), ("Grace", None)]
    assert left(own) == ["people.sqlite"]
    assert database.stat().st_mode & 0o777 == 0o600


def test_another_attempt_of_the_job_makes_the_file_anew(tmp_path: Path, own: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    assert import_csv(str(path)) == import_csv(str(path))
    assert rows(own / "people.sqlite") == [(1,)]


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        (["1", "-2", "0"], "integer", [1, -2, 0]),
        (["9223372036854775807"], "integer", [2**63 - 1]),
        (["-9223372036854775808"], "integer", [-(2**63)]),
        (["9223372036854775808"], "text", ["9223372036854775808"]),
        (["007", "1"], "text", ["007", "1"]),
        (["+49"], "text", ["+49"]),
        (["-0"], "float", [0.0]),
        (["1", "2.5", "-0.5"], "float", [1.0, 2.5, -0.5]),
        (["1.0e5", "1e-05"], "float", [1e5, 1e-5]),
        (["12e4"], "text", ["12e4"]),
        (["1e+999"], "text", ["1e+999"]),
        (["nan", "1.5"], "text", ["nan", "1.5"]),
        (["00.5"], "text", ["00.5"]),
        (["1,5"], "text", ["1,5"]),
        (["0.1234567890123456789"], "text", ["0.1234567890123456789"]),
        (["1", "2.5", "18446744073709551616"], "text", ["1", "2.5", "18446744073709551616"]),
        (["true", "FALSE"], "boolean", [1, 0]),
        (["true", "1"], "text", ["true", "1"]),
        (["2024-02-29"], "date", ["2024-02-29"]),
        (["2023-02-29"], "text", ["2023-02-29"]),
        (["20240229", "1"], "integer", [20240229, 1]),
        (["2024-02-29", "2024-02-29 10:00"], "text", ["2024-02-29", "2024-02-29 10:00"]),
        (["2024-02-29T10:00:01"], "datetime", ["2024-02-29 10:00:01.000000"]),
        (["2024-02-29 10:00:01.25"], "datetime", ["2024-02-29 10:00:01.250000"]),
        (
            ["2024-02-29T10:00:00+02:00", "2024-02-29T10:00:00Z"],
            "datetime with time zone",
            ["2024-02-29 08:00:00.000000", "2024-02-29 10:00:00.000000"],
        ),
        (["0001-01-01T00:00:00+02:00"], "text", ["0001-01-01T00:00:00+02:00"]),
        (["x", "1"], "text", ["x", "1"]),
        (["٣"], "text", ["٣"]),
        (["", "7", "  "], "integer", [None, 7, None]),
        ([" 7 "], "integer", [7]),
        ([" x "], "text", [" x "]),
        (["", ""], "text", [None, None]),
    ],
)
def test_a_column_gets_the_narrowest_type_that_loses_nothing(
    tmp_path: Path, own: Path, values: list[str], kind: str, stored: list[Any]
) -> None:
    path = csv_file(tmp_path, "a,b\n" + "".join(f'"{value}",.\n' for value in values))
    assert import_csv(str(path))["columns"]["a"] == kind
    assert [row[0] for row in rows(own / "people.sqlite")] == stored


def test_a_value_at_the_very_end_still_decides_the_type(tmp_path: Path, own: Path) -> None:
    path = csv_file(tmp_path, "a\n" + "1\n" * 5000 + "one\n")
    assert import_csv(str(path))["columns"] == {"a": "text"}
    assert rows(own / "people.sqlite")[-1] == ("one",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed(tmp_path: Path, own: Path, delimiter: str) -> None:
    lines = [["a", "b", "c"], ["1", '"x; y| z, w"', "2.5"], ["3", '"v, u"', "4.5"]]
    path = csv_file(tmp_path, "\r\n".join(delimiter.join(line) for line in lines))
    assert import_csv(str(path))["columns"] == {"a": "integer", "b": "text", "c": "float"}
    assert rows(own / "people.sqlite") == [(1, "x; y| z, w", 2.5), (3, "v, u", 4.5)]


def test_decimal_commas_between_semicolons_do_not_confuse_the_sniffing(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "name;price\nx;1,50\ny;2,50\n")
    assert list(import_csv(str(path))["columns"]) == ["name", "price"]


def test_quoted_fields_keep_delimiters_quotes_and_line_breaks(tmp_path: Path, own: Path) -> None:
    path = csv_file(tmp_path, 'a,b\n"x, y","say ""hi""\r\nthere"\n')
    import_csv(str(path))
    assert rows(own / "people.sqlite") == [("x, y", 'say "hi"\r\nthere')]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_line_end_are_understood(tmp_path: Path, end: str) -> None:
    path = csv_file(tmp_path, b"\xef\xbb\xbf" + end.join(["ä,b", "1,2", ""]).encode())
    assert import_csv(str(path))["columns"] == {"ä": "integer", "b": "integer"}


def test_ragged_rows_are_logged_with_their_line_and_counted(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    path = csv_file(tmp_path, 'a,b\n1,2\n3\n\n"x\ny",4\n5,6,7\n8,9\n')
    result = import_csv(str(path))
    assert (result["rows"], result["skipped"]) == (3, 2)
    assert lines == [
        ("WARNING", "line 3: 1 fields where the header has 2"),
        ("WARNING", "line 7: 3 fields where the header has 2"),
    ]
    assert rows(own / "people.sqlite") == [("1", 2), ("x\ny", 4), ("8", 9)]


def test_the_log_of_a_million_bad_rows_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    path = csv_file(tmp_path, "a,b\n1,2\n" + "3\n" * 1000)
    assert import_csv(str(path))["skipped"] == 1000
    assert len(lines) == 101
    assert lines[-1] == ("WARNING", "... and 900 more like these")


def test_a_quote_that_is_never_closed_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    path = csv_file(tmp_path, 'a,b\n1,2\n3,"4\n5,6\n')
    assert import_csv(str(path))["rows"] == 1
    assert lines == [("WARNING", "line 3: unexpected end of data")]


def test_a_stray_quote_costs_its_own_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_lines(monkeypatch)
    path = csv_file(tmp_path, 'a,b\n1,2\n"3"x,4\n5,6\n')
    assert import_csv(str(path))["rows"] == 2
    assert lines == [("WARNING", "line 3: ',' expected after '\"'")]


def test_names_of_columns_may_be_anything_sql_knows(tmp_path: Path, own: Path) -> None:
    names = ["select", "a b", "x%(y)s", ":z", 'q"q', "a.b", "c0"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    path = csv_file(tmp_path, header + "\n1,2,3,4,5,6,7\n")
    assert list(import_csv(str(path))["columns"]) == names
    assert rows(own / "people.sqlite") == [(1, 2, 3, 4, 5, 6, 7)]


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,\n1,2\n")
    assert list(import_csv(str(path))["columns"]) == ["a", "column_2"]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("My Sales-2024.csv", "my_sales_2024"),
        ("2024.csv", "t_2024"),
        ("été.csv", "été"),
        ("---.csv", "data"),
    ],
)
def test_the_table_is_named_after_the_file(tmp_path: Path, name: str, table: str) -> None:
    assert import_csv(str(csv_file(tmp_path, "a\n1\n", name)))["table"] == table


def test_database_and_table_can_be_chosen(tmp_path: Path, own: Path, shared: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    result = import_csv(str(path), database="shared", table="My table")
    assert (result["database"], result["table"]) == ("shared", "My table")
    assert rows(shared, "My table") == [(1,)]
    assert left(own) == []


@pytest.mark.parametrize(
    "database",
    [
        "nobody's",
        "SHARED",
        "shared ",
        "",
        "sqlite:////tmp/secret.db",
        "postgresql://me:secret@127.0.0.1:1/db",
        "file:secret?mode=memory",
        7,
        ["shared"],
        {"shared": 1},
    ],
)
def test_a_database_that_the_operator_did_not_name_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: object
) -> None:
    monkeypatch.setattr(workers.databases.sql_target, "create_engine", None)
    sentence = refused(str(csv_file(tmp_path, "a\n1\n")), database)
    assert "knows no database of that name: give a name that TASKBRIDGE_DATABASES lists" in sentence
    assert "secret" not in sentence


def test_the_url_of_0_1_0_is_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    assert "give as database a name" in refused(str(path), url="sqlite:////tmp/secret.db")


@pytest.mark.parametrize("name", ["away", "nodialect", "port"])
def test_neither_host_nor_user_nor_password_of_a_database_is_in_an_error(
    tmp_path: Path, name: str
) -> None:
    sentence = refused(str(csv_file(tmp_path, "a\n1\n")), database=name)
    assert f"the database {name}" in sentence.lower()
    assert not any(part in sentence for part in ("127.0.0.1", "secret", "me:secret"))


@pytest.mark.parametrize("batch", [1, 3, 100_000])
def test_both_bars_end_at_their_real_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    bars = recorded_bars(monkeypatch, module)
    path = csv_file(tmp_path, "a,b\n" + "1,2\n" * 250 + "bad\n")
    import_csv(str(path), batch=batch)
    size = path.stat().st_size
    assert [(bar.desc, bar.unit, bar.n, bar.total) for bar in bars] == [
        ("types", "B", size, size),
        ("rows", "row", 250, 250),
    ]
    assert all(bar.closed for bar in bars)


@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_cancelled_job_leaves_neither_rows_nor_table_nor_file(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    recorded_bars(monkeypatch, module, cancel_at=step)
    path = csv_file(tmp_path, "a\n" + "1\n" * 250)
    with pytest.raises(JobCancelled):
        import_csv(str(path), batch=100)
    assert left(own) == []


def test_a_file_of_bad_rows_alone_can_be_cancelled(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled() -> None:
        raise JobCancelled

    monkeypatch.setattr(job, "raise_if_cancelled", cancelled)
    with pytest.raises(JobCancelled):
        import_csv(str(csv_file(tmp_path, "a,b\n" + "1\n" * 101)))
    assert left(own) == []


def failing_insert(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the database fail at the insertion with that number."""
    count, real = 0, workers.databases.filling._insert

    def insert(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise OperationalError("INSERT", None, Exception("disk I/O error\nmore"))
        real(*args)

    monkeypatch.setattr(workers.databases.filling, "_insert", insert)


def test_a_failure_in_between_is_rolled_back_and_a_new_file_removed(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_insert(monkeypatch, at=2)
    path = csv_file(tmp_path, "a\n1\n2\n3\n")
    assert "refuses (disk I/O error)" in refused(str(path), batch=1)
    assert left(own) == []


@pytest.mark.parametrize("if_exists", ["append", "replace"])
def test_a_failure_in_between_leaves_an_existing_table_as_it_was(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, if_exists: str
) -> None:
    path = csv_file(tmp_path, "a\n1\n2\n3\n")
    import_csv(str(path), "shared")
    failing_insert(monkeypatch, at=2)
    refused(str(path), "shared", batch=1, if_exists=if_exists)
    assert rows(shared) == [(1,), (2,), (3,)]


def test_a_failure_leaves_the_other_tables_of_a_file(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, "a\n1\n2\n")
    import_csv(str(path), "shared", table="other")
    failing_insert(monkeypatch, at=2)
    refused(str(path), "shared", batch=1)
    assert tables(shared) == ["other"]


def test_a_database_that_commits_new_tables_at_once_is_left_without_the_new_one(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite without our BEGIN is such a database.
    path = csv_file(tmp_path, "a\n1\n2\n")
    import_csv(str(path), "shared", table="other")
    monkeypatch.setattr(workers.databases.sql_target, "TRANSACTIONAL_DDL", frozenset())
    failing_insert(monkeypatch, at=2)
    refused(str(path), "shared", batch=1)
    assert tables(shared) == ["other"]
    with granted_to("bob", tmp_path):
        assert import_csv(str(path), "shared")["rows"] == 2


def test_a_table_that_exists_is_not_touched_unless_told(tmp_path: Path, shared: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    import_csv(str(path), "shared")
    assert "There is a table people already" in refused(str(path), "shared")
    assert rows(shared) == [(1,)]


def test_rows_can_be_appended_in_another_order_of_columns(tmp_path: Path, shared: Path) -> None:
    import_csv(str(csv_file(tmp_path, "Zip,n\n01234,1\n")), "shared")
    path = csv_file(tmp_path, "n,zip\n2,99999\n")
    result = import_csv(str(path), "shared", if_exists="append")
    assert result["columns"] == {"n": "integer", "Zip": "text"}
    assert rows(shared) == [("01234", 1), ("99999", 2)]


def test_appending_to_a_table_without_the_column_is_refused(tmp_path: Path) -> None:
    import_csv(str(csv_file(tmp_path, "a\n1\n")), "shared")
    sentence = refused(str(csv_file(tmp_path, "a,b\n1,2\n")), "shared", if_exists="append")
    assert "has no column b" in sentence


def test_a_table_can_be_replaced(tmp_path: Path, shared: Path) -> None:
    import_csv(str(csv_file(tmp_path, "a\n1\n")), "shared")
    import_csv(str(csv_file(tmp_path, "b,c\nx,y\n")), "shared", if_exists="replace")
    assert rows(shared) == [("x", "y")]


def test_a_file_that_changes_between_the_two_readings_is_refused(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, "a\n1\n2\n")
    real = module._types

    def types(*args: Any) -> Any:
        found = real(*args)
        path.write_text("a\n1\nx\n")
        return found

    monkeypatch.setattr(module, "_types", types)
    assert "changed meanwhile: run the job again" in refused(str(path))
    assert left(own) == []


def test_the_result_is_small_json_even_of_a_wide_file(tmp_path: Path) -> None:
    path = csv_file(tmp_path, ",".join(f"c{n:0>120}" for n in range(900)) + "\n" + "1," * 899 + "1")
    result = import_csv(str(path))
    assert len(result["columns"]) == 100
    assert len(finite_json(result)) < MAX_RESULT_BYTES


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.csv"
    assert refused(str(missing)) == (
        f"There is no file {missing} below the input roots of this worker "
        "(TASKBRIDGE_INPUT_ROOTS): check the path."
    )


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    assert "is not a regular file: give the path of a file" in refused(str(tmp_path))


def test_a_file_without_rights_is_named() -> None:
    with reachable_folder() as folder:
        path = csv_file(folder, "a\n1\n")
        with granted(folder), no_rights(path):
            assert "The worker may not read the file" in refused(str(path))


@pytest.mark.parametrize("text", ["", "\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_named(tmp_path: Path, own: Path, text: str | bytes) -> None:
    assert "is empty: give a file with a header and rows" in refused(str(csv_file(tmp_path, text)))
    assert left(own) == []


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\n\n", "a,b\n1\n2,3,4\n"])
def test_a_header_without_good_rows_is_refused(tmp_path: Path, own: Path, text: str) -> None:
    assert "has no row with as many fields as its header (2)" in refused(
        str(csv_file(tmp_path, text))
    )
    assert left(own) == []


@pytest.mark.parametrize("header", ["a,b,a", "Name,name", "a, a ", "column_2,"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: str) -> None:
    text = header + "\n" + "1," * header.count(",") + "1\n"
    assert "columns named" in refused(str(csv_file(tmp_path, text)))


@pytest.mark.parametrize(
    "text",
    [
        "naïve,b\n1,2\n".encode("latin-1"),
        "a,b\n1,ü\n".encode("utf-16"),
        b"a\n" + b"1\n" * 40_000 + b"\xff\n",
    ],
)
def test_what_is_not_utf_8_is_refused(tmp_path: Path, own: Path, text: bytes) -> None:
    assert "is not UTF-8 text: save it as UTF-8" in refused(str(csv_file(tmp_path, text)))
    assert left(own) == []


@pytest.mark.parametrize("text", ["a\0b,c\n1,2\n", "x" * 200 + ",b\n1,2\n"])
def test_a_first_line_that_cannot_be_a_header_is_refused(tmp_path: Path, text: str) -> None:
    assert "has no names of columns in its first line" in refused(str(csv_file(tmp_path, text)))


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    assert "has a broken header" in refused(str(csv_file(tmp_path, '"a"b,c\n1,2\n')))


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("nodialect", "is not one of SQLAlchemy's"),
        ("port", "is not one of SQLAlchemy's"),
        ("host", "is not one of SQLAlchemy's"),
        ("nowhere", "cannot be reached (unable to open database file)"),
        ("shut", "cannot be reached (unable to open database file)"),
        ("away", "cannot be reached (OperationalError)"),
    ],
)
def test_a_name_that_leads_to_no_database_is_one_clear_sentence(
    tmp_path: Path, database: str, reason: str
) -> None:
    assert reason in refused(str(csv_file(tmp_path, "a\n1\n")), database)


def test_a_driver_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: Any, **kwargs: Any) -> None:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(workers.databases.sql_target, "create_engine", missing)
    sentence = refused(str(csv_file(tmp_path, "a\n1\n")), "away")
    assert "(psycopg) is not installed on this worker" in sentence
    assert "secret" not in sentence


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("important text, not a database, and long enough to be looked at")
    before = other.read_bytes()
    assert "file is not a database" in refused(str(csv_file(tmp_path, "a\n1\n")), "other")
    assert other.read_bytes() == before


def test_a_database_that_somebody_else_locks_is_refused(tmp_path: Path, shared: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    holder = sqlite3.connect(shared, isolation_level=None)
    try:
        holder.execute("CREATE TABLE other (a)")
        holder.execute("BEGIN EXCLUSIVE")
        sentence = refused(str(path), "patient")
    finally:
        holder.close()
    assert "database is locked" in sentence


def test_a_folder_where_the_sqlite_file_cannot_be_made_is_refused() -> None:
    with reachable_folder() as folder, granted(folder):
        path = csv_file(folder, "a\n1\n")
        with no_rights(folder / "output"):
            assert "cannot be written (Permission denied)" in refused(str(path))


@pytest.mark.parametrize("if_exists", ["fail", "append", "replace"])
@pytest.mark.parametrize("table", ["people", "PEOPLE", "orders", "taskbridge_tables", "a_view"])
def test_what_is_somebody_elses_in_a_shared_database_stays_as_it_is(
    tmp_path: Path, shared: Path, table: str, if_exists: Any
) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    with granted_to("bob", tmp_path):
        import_csv(str(path), "shared")
    with contextlib.closing(sqlite3.connect(shared)) as operator:
        operator.execute("CREATE TABLE orders (a)")
        operator.execute("CREATE VIEW a_view AS SELECT a FROM people")
        before = list(operator.iterdump())
        sentence = refused(str(path), "shared", table, if_exists=if_exists)
        assert sentence == f"The name of the table {table} is taken: choose another table."
        assert list(operator.iterdump()) == before


@pytest.mark.parametrize("owner", [None, "Ada", "ada ", OWNER + "\0"])
def test_owners_who_are_alike_are_not_the_same(tmp_path: Path, shared: Path, owner: Any) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    import_csv(str(path), "shared")
    with granted_to(owner, tmp_path):
        assert "is taken" in refused(str(path), "shared", if_exists="replace")


def test_a_table_that_the_operator_dropped_and_made_again_may_be_its_owners(
    tmp_path: Path, shared: Path
) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    import_csv(str(path), "shared")
    with contextlib.closing(sqlite3.connect(shared)) as operator:
        operator.execute("DROP TABLE people")
    with granted_to("bob", tmp_path):
        assert "is taken" in refused(str(path), "shared")
    assert import_csv(str(path), "shared")["rows"] == 1


def test_of_two_jobs_that_make_a_table_at_once_one_is_refused(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = csv_file(tmp_path, "a\n1\n"), module._types

    def types(*args: Any) -> Any:
        # Bob's job comes after this one has looked, and before it makes its table.
        monkeypatch.setattr(module, "_types", real)
        with granted_to("bob", tmp_path):
            import_csv(str(path), "shared")
        return real(*args)

    monkeypatch.setattr(module, "_types", types)
    assert "is taken" in refused(str(path), "shared", if_exists="replace")
    with granted_to("bob", tmp_path):
        assert import_csv(str(path), "shared", if_exists="append")["rows"] == 1
    assert rows(shared) == [(1,), (1,)]


def test_without_roots_and_databases_nothing_is_opened(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a\n1\n")
    installed.replace_settings(Settings(home=tmp_path / "home"))
    assert "set TASKBRIDGE_INPUT_ROOTS to the folders" in refused(str(path))
    installed.replace_settings(Settings(home=tmp_path / "home", input_roots=(tmp_path,)))
    assert "set TASKBRIDGE_OUTPUT_ROOT to the folder" in refused(str(path))
    assert "TASKBRIDGE_DATABASES" in refused(str(path), "shared")


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 0},
        {"batch": "many"},
        {"batch": 10**9},
        {"table": " "},
        {"table": 5},
        {"table": "a\0b"},
        {"table": ""},
        {"table": "a\nb"},
        {"table": "ü" * 32},
        {"table": "\ud800"},
        {"if_exists": "maybe"},
        {"if_exists": ["append"]},
    ],
)
def test_an_option_that_cannot_be_is_one_clear_sentence(
    tmp_path: Path, own: Path, options: dict[str, Any]
) -> None:
    assert ": correct it." in refused(str(csv_file(tmp_path, "a\n1\n")), **options)
    assert left(own) == []


class Died(BaseException):
    """The process of an attempt dies."""


@pytest.fixture
def one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all jobs attempts of one task."""
    monkeypatch.setattr(module, "work", lambda *about: " ".join(map(str, about)))
    monkeypatch.setattr("workers.files.outputs.job_id", lambda: "job")
    monkeypatch.setattr("workers.databases.filling.INTERVAL", 0)


def dying(path: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the checkpoint of an attempt that dies with that batch."""
    count, real = 0, workers.databases.filling._insert

    def insert(*args: Any) -> None:
        nonlocal count
        count += 1
        real(*args)
        if count == at:
            raise Died

    with monkeypatch.context() as patch, record(owner=OWNER) as reported:
        patch.setattr(workers.databases.filling, "_insert", insert)
        with pytest.raises(Died):
            import_csv(str(path), "shared", batch=100)
    return reported.checkpoint


def test_a_later_attempt_goes_on_after_the_last_batch_that_is_in(
    tmp_path: Path, own: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, one_task: None
) -> None:
    path = csv_file(tmp_path, "a,b\n" + "".join(f"{n},x{n}\n" for n in range(450)) + "bad\n")
    state = dying(path, 3, monkeypatch)
    assert state["rows"] == 200
    monkeypatch.setattr(module, "_types", None)  # it is not read for its types again
    with record(owner=OWNER, restored=state) as reported:
        result = import_csv(str(path), "shared", batch=100)
    counts = [bar["n"] for event in reported.events for bar in event["data"].get("bars", ())]
    assert result["rows"] == 450
    assert result["skipped"] == 1
    assert min(counts, default=200) >= 200
    assert rows(shared) == [(n, f"x{n}") for n in range(450)]
    assert tables(shared) == ["people"]


def test_an_attempt_that_was_taken_over_adds_nothing_and_stores_no_result(
    tmp_path: Path, own: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, one_task: None
) -> None:
    path = csv_file(tmp_path, "a\n" + "".join(f"{n}\n" for n in range(450)))
    real, froze = module.Filling.insert, []

    def insert(filling: Any, batch: Any) -> None:
        if filling.rows == 200 and not froze:
            froze.append(True)
            with record(owner=OWNER):
                assert import_csv(str(path), "shared", batch=100)["rows"] == 450
        real(filling, batch)

    monkeypatch.setattr(module.Filling, "insert", insert)
    with pytest.raises(Ignore):
        import_csv(str(path), "shared", batch=100)
    assert rows(shared) == [(n,) for n in range(450)]


def test_two_attempts_at_once_that_fill_a_file_of_the_jobs_own_disturb_each_other_in_nothing(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch, one_task: None
) -> None:
    path = csv_file(tmp_path, "a\n" + "".join(f"{n}\n" for n in range(450)))
    real, results = module.Filling.insert, []

    def insert(filling: Any, batch: Any) -> None:
        if filling.rows == 200 and not results:
            results.append(None)
            with record(owner=OWNER):
                results.append(import_csv(str(path), batch=100))
        real(filling, batch)

    monkeypatch.setattr(module.Filling, "insert", insert)
    results.append(import_csv(str(path), batch=100))
    assert results[1] == results[2]
    assert rows(results[1]["database"]) == [(n,) for n in range(450)]


def test_a_file_that_changed_since_is_imported_anew(
    tmp_path: Path, own: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, one_task: None
) -> None:
    path = csv_file(tmp_path, "a\n" + "1\n" * 450)
    state = dying(path, 3, monkeypatch)
    csv_file(tmp_path, "a\n" + "x\n" * 300)
    with record(owner=OWNER, restored=state):
        assert import_csv(str(path), "shared", batch=100)["columns"] == {"a": "text"}
    assert rows(shared) == [("x",)] * 300


def test_rows_of_a_work_that_nobody_goes_on_with_are_removed_later(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, "a\n" + "1\n" * 450)
    monkeypatch.setattr("workers.databases.filling.INTERVAL", 0)
    dying(path, 3, monkeypatch)
    assert len(tables(shared)) == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    import_csv(str(path), "shared")
    assert tables(shared) == ["people"]


@pytest.mark.parametrize("if_exists", ["fail", "append", "replace"])
def test_an_attempt_that_died_when_all_rows_were_in_is_not_done_again(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, if_exists: str
) -> None:
    path = csv_file(tmp_path, "a\n1\n2\n")
    if if_exists == "append":
        import_csv(str(path), "shared")
    monkeypatch.setattr(module, "work", lambda *about: " ".join(map(str, about)))
    results = [import_csv(str(path), "shared", if_exists=if_exists) for _ in range(2)]
    assert results[0] == results[1]
    assert rows(shared) == [(1,), (2,)] * (1 + (if_exists == "append"))
