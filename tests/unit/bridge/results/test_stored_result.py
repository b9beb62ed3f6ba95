"""Results that Celery stored, and others planted, as they are read for clients."""

from __future__ import annotations

import bz2
import datetime
import json
import logging
import pickle
import sqlite3
import zlib

import pytest
from celery import Celery, states
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from bridge import Bridge, Settings
from bridge.cancelling import cancel_mark
from bridge.client.status import from_result, stored_progress
from bridge.instrumentation import outcomes
from bridge.protocol.event import MAX_RESULT_BYTES
from bridge.results import stored_result
from bridge.results.stored_result import MAX_STORED_BYTES
from support.planted import encoded, plant, planted
from workers.app import new_app

SECRET = "s" * 32
JSON = [None, 7, 2.5, True, "text", "ü😀", [1, [2]], {"a": {"b": None}}]
COMPRESSED = b"\x00celery-compressed\x00application/"


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, broker_url="memory://", secret=(SECRET,))


@pytest.fixture
def worker(settings):
    """A worker's application: it makes the tables and stores results."""
    app = new_app(settings)
    _ = app.backend
    yield app
    app.close()


@pytest.fixture
def reader(settings):
    """The application of a server."""
    with Bridge(settings=settings) as bridge:
        yield bridge.app


@pytest.fixture
def database(worker, tmp_path):
    return tmp_path / "results.sqlite"


@pytest.fixture(params=["sqlite", "files"])
def stored(request, tmp_path, settings):
    """Two applications, one that stores and one that reads, on each kind of backend."""
    if request.param == "files":
        (tmp_path / "results").mkdir()
        settings = settings.replace(result_url=f"file://{tmp_path / 'results'}")
    app = new_app(settings)
    with Bridge(settings=settings) as bridge:
        yield app.backend, bridge.app
    app.close()


def ended(app, task="t"):
    found = from_result(app, task)
    keys = ("state", "result", "result_omitted", "error")
    return {key: found[key] for key in keys if found.get(key) is not None}


OMITTED = {"state": "succeeded", "result_omitted": True}

# What workers store


@pytest.mark.parametrize("value", JSON, ids=str)
def test_a_result_is_read_as_it_was_returned(stored, value):
    backend, app = stored
    backend.store_result("t", value, states.SUCCESS)
    assert from_result(app, "t")["result"] == value
    assert ended(app)["state"] == "succeeded"
    assert from_result(app, "t")["ended_at"] == pytest.approx(
        datetime.datetime.now().timestamp(), abs=60
    )


@pytest.mark.parametrize(
    ("celerys", "ours", "done"),
    [
        ("STARTED", "running", 0),
        ("PROGRESS", "running", 0),
        ("RECEIVED", "queued", 0),
        ("RETRY", "retrying", 0),
        ("REVOKED", "cancelled", 1),
        ("FAILURE", "failed", 1),
        ("A-STATE-OF-ITS-OWN", "running", 0),
    ],
)
def test_each_state_is_read(stored, celerys, ours, done):
    backend, app = stored
    cause = ValueError("no") if celerys in states.EXCEPTION_STATES else {"current": 1}
    backend.store_result("t", cause, celerys)
    found = from_result(app, "t")
    assert (found["state"], found["done"]) == (ours, done)


def test_progress_that_a_running_task_has_stored_is_a_bar(stored):
    backend, app = stored
    backend.store_result("t", {"current": 37, "total": 100, "status": "rows"}, "PROGRESS")
    (bar,) = from_result(app, "t")["bars"]
    assert (bar["n"], bar["total"], bar["desc"], bar["closed"]) == (37, 100, "rows", False)
    assert stored_progress(app, "t")["n"] == 37
    for state in (states.STARTED, states.SUCCESS):
        backend.store_result("t", {"current": 37, "total": 100}, state)
        assert (from_result(app, "t")["bars"], stored_progress(app, "t")) == ([], None)
    assert stored_progress(app, "unknown") is None


class Nested:
    class Odd(Exception):
        """One of a class within a class."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        ValueError(),
        ValueError(1, "two"),
        KeyError("key"),
        FileNotFoundError(2, "No such file or directory"),
        ConnectionRefusedError(111, "refused"),
        WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 1."),
        SoftTimeLimitExceeded(5),
        TimeLimitExceeded(3.5),
        Nested.Odd("odd"),
        ValueError("x" * 10_000),
    ],
    ids=lambda one: repr(one)[:30],
)
def test_an_exception_is_told_as_its_worker_told_it(stored, error):
    backend, app = stored
    backend.mark_as_failure("t", error, traceback="its traceback")
    assert from_result(app, "t")["error"] == outcomes.error(error)
    lost = isinstance(error, WorkerLostError)
    assert from_result(app, "t")["state"] == ("lost" if lost else "failed")


def test_what_is_no_json_to_a_client_is_left_out(stored):
    backend, app = stored
    backend.store_result("t", {"at": datetime.datetime(2024, 1, 1)}, states.SUCCESS)
    assert ended(app) == OMITTED


@pytest.mark.parametrize("size", [MAX_RESULT_BYTES, MAX_STORED_BYTES, 3_000_000])
def test_of_a_large_result_the_state_is_read(stored, size):
    backend, app = stored
    backend.store_result("t", "x" * size, states.SUCCESS)
    assert ended(app) == OMITTED
    backend.store_result("f", ValueError("x" * size), states.FAILURE)
    assert from_result(app, "f")["state"] == "failed"


def test_an_id_that_was_never_stored_is_unknown(stored):
    assert from_result(stored[1], "t") is None


def test_before_the_first_worker_there_is_no_table_and_no_error(reader):
    assert from_result(reader, "t") is None


@pytest.mark.parametrize("method", ["gzip", "bzip2"])
def test_a_compressed_result_is_read(tmp_path, method):
    own = Celery("own", backend=f"file://{tmp_path}")
    own.conf.result_compression = method
    own.backend.store_result("t", [1, 2], states.SUCCESS)
    own.backend.store_result("large", "x" * 1_000_000, states.SUCCESS)
    assert next(tmp_path.glob("*-t")).read_bytes().startswith(COMPRESSED)
    assert ended(own) == {"state": "succeeded", "result": [1, 2]}
    assert ended(own, "large") == OMITTED


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
def test_an_application_with_another_serializer_has_its_states_read(tmp_path, settings, serializer):
    own = Celery("own", backend=settings.results)
    own.conf.update(result_serializer=serializer, accept_content=["json", serializer])
    own.backend.store_result("t", {1, 2} if serializer == "pickle" else [1], states.SUCCESS)
    own.backend.store_result("f", ValueError("no"), states.FAILURE)
    assert ended(own) == OMITTED
    assert from_result(own, "f")["state"] == "failed"


def test_a_pickling_application_has_its_states_read_where_all_is_one_pickle(tmp_path):
    own = Celery("own", backend=f"file://{tmp_path}")
    own.conf.update(result_serializer="pickle", accept_content=["pickle"])
    own.backend.store_result("t", {1, 2}, states.SUCCESS)
    own.backend.store_result("f", ValueError("no"), states.FAILURE)
    assert ended(own) == OMITTED
    assert ended(own, "f") == {"state": "failed"}


def test_what_needs_a_library_that_unpickles_is_not_read():
    own = Celery("own", backend="cache+memory://")
    own.backend.store_result("t", 1, states.SUCCESS)
    assert not stored_result.can_read(own.backend)
    assert from_result(own, "t") is None
    assert from_result(Celery("own", backend="rpc://", broker="memory://"), "t") is None


# What is planted


@pytest.mark.parametrize("kind", planted("x"))
@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "RETRY"])
def test_a_pickle_in_a_row_is_not_loaded(database, reader, tmp_path, kind, status):
    witness = tmp_path / "witness"
    plant(database, "t", planted(witness)[kind], status)
    assert ended(reader)["state"] in ("succeeded", "failed", "retrying")
    assert not cancel_mark.is_stored(reader.backend, "t")
    assert not witness.exists()
    # What Celery's own reader makes of it: the pickle is a live one.
    pickle.loads(planted(witness)[kind]).close() if kind != "within an exception" else None
    assert witness.exists() or kind == "within an exception"


@pytest.mark.parametrize("value", JSON, ids=str)
@pytest.mark.parametrize("protocol", range(2, 6))
def test_rows_of_celery_before_5_7_are_read(database, reader, value, protocol):
    plant(database, "t", pickle.dumps(value, protocol), date_done="2024-01-01 00:00:00.000000")
    found = from_result(reader, "t")
    assert (found["state"], found["result"], found["ended_at"]) == ("succeeded", value, 1704067200)


def test_exceptions_of_celery_before_5_7_are_read(database, reader):
    stored = {"exc_type": "ValueError", "exc_message": ("no",), "exc_module": "builtins"}
    plant(database, "t", pickle.dumps(stored, 4), "FAILURE")
    assert ended(reader) == {"state": "failed", "error": {"class": "ValueError", "message": "no"}}


class Alarm(Exception):
    """One that must not be made by reading."""

    made = 0

    def __init__(self, *_):
        Alarm.made += 1


@pytest.mark.parametrize(
    ("module", "name", "shown"),
    [
        (__name__, "Alarm", "Alarm"),
        ("os", "system", "system"),
        ("subprocess", "Popen", "Popen"),
        (None, "made.of\x1b]52;nothing", "nothing"),
        (__name__, "x" * 5000, "x" * 255),
    ],
)
def test_no_class_that_a_row_names_is_looked_up_or_made(database, reader, module, name, shown):
    told = {"exc_type": name, "exc_message": ["touch"], "exc_module": module}
    plant(database, "t", json.dumps(told).encode(), "FAILURE")
    found = ended(reader)
    assert found["state"] == "failed"
    assert found["error"]["class"].endswith(shown)
    assert (found["error"]["message"], Alarm.made) == ("touch", 0)


def nested(depth, opening="[", closing="]"):
    return opening * depth + closing * depth


def laughs():
    """Return a pickle of 200 bytes whose value is 2^60 numbers as JSON."""
    lists = b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(60))
    return b"\x80\x02]K\x01aq\x00" + lists + b"."


#: Values of the column that are small, and would be the end of a server.
BOMBS = {
    "deep JSON": nested(30_000).encode(),
    "deep JSON objects": (nested(10_000, '{"a":', "") + "1" + "}" * 10_000).encode(),
    "deeper than calls may be": nested(900).encode(),
    "deeper than is needed": nested(outcomes.MAX_DEPTH + 1).encode(),
    "deep lists in a pickle": b"\x80\x02" + b"]" * 30_000 + b"a" * 29_999 + b".",
    "a list in itself": b"\x80\x02]2a.",
    "shared lists": laughs(),
    "a long string many times": b"\x80\x02](X" + (50_000).to_bytes(4, "little") + b"x" * 50_000
    + b"q\x01" + b"h\x01" * 5_000 + b"e.",
    "an integer that is no blob": 10**12,
    "not a number": b"NaN",
    "infinite": b"[1e999]",
    "a number of 60,000 digits": b"9" * 60_000,
    "half a character": b'"\xc3',
    "gzip that is large": COMPRESSED + b"x-gzip\0" + zlib.compress(b" " * 100_000_000),
    "bzip2 that is large": COMPRESSED + b"x-bz2\0" + bz2.compress(b" " * 100_000_000),
    "gzip that is none": COMPRESSED + b"x-gzip\0none",
    "a compression of which nobody knows": COMPRESSED + b"x-x\0none",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("result", BOMBS.values(), ids=BOMBS)
def test_of_a_bomb_in_a_row_only_the_state_is_told(database, reader, result):
    plant(database, "t", result)
    assert ended(reader) == OMITTED
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE celery_taskmeta SET status = 'FAILURE'")
    connection.close()
    assert ended(reader) == {"state": "failed"}


@pytest.mark.parametrize("depth", [outcomes.MAX_DEPTH + 1, 900])
def test_a_bomb_in_an_exception_is_left_out(database, reader, depth):
    told = b'{"exc_type": "E", "exc_message": %s}' % nested(depth).encode()
    plant(database, "t", told, "FAILURE")
    assert ended(reader) == {"state": "failed", "error": {"class": "E", "message": ""}}


ROWS = {
    "no state": {"status": None},
    "bytes for a state": {"status": b"\xff"},
    "a long state": {"status": "X" * 51},
    "no date": {"date_done": "yesterday"},
    "a state without end": {"status": "X" * 1_000_000},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_malformed_row_is_unknown_with_one_line(database, reader, caplog, row):
    plant(database, "t", b"1", **row)
    assert from_result(reader, "t") is None
    [line] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "the stored result of task 't' is malformed" in line.getMessage()


KEYS = {
    "text": b"text",
    "a list": b"[1]",
    "a number": b"7",
    "no state": b"{}",
    "a state that is none": encoded(status=["SUCCESS"]),
    "a date that is none": encoded(date_done="yesterday"),
    "large, and no state first": b'{"result": "' + b"x" * MAX_STORED_BYTES + b'"}',
    "a pickle": b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00truetR.",
    "no pickle": b"\x80\x04\xff",
}


@pytest.mark.parametrize("content", KEYS.values(), ids=KEYS)
def test_a_malformed_key_is_unknown_with_one_line(tmp_path, caplog, content):
    app = Celery("own", backend=f"file://{tmp_path}")
    (tmp_path / "celery-task-meta-t").write_bytes(content)
    assert from_result(app, "t") is None
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == ["taskbridge"]


@pytest.mark.parametrize("depth", [900, 5_000, 30_000])
def test_of_a_deep_result_under_a_key_the_state_is_told_on_every_python(tmp_path, depth):
    app = Celery("own", backend=f"file://{tmp_path}")
    row = b'{"status": "SUCCESS", "result": ' + nested(depth).encode() + b"}"
    (tmp_path / "celery-task-meta-t").write_bytes(row)
    assert ended(app) == OMITTED


def test_texts_without_end_beside_a_result_are_left_out(database, reader):
    plant(database, "t", b"1", date_done="2" * 1_000_000, name="n" * 1_000_000)
    found = from_result(reader, "t")
    assert (found["state"], found["ended_at"], found["name"]) == ("succeeded", None, "")


def test_the_name_of_a_task_is_read_where_celery_stores_it(settings):
    own = Celery("own", backend=settings.results)
    own.conf.result_extended = True
    _ = own.backend.ResultSession().close()
    plant(settings.home / "results.sqlite", "t", b"1", name="shop.export")
    assert from_result(own, "t")["name"] == "shop.export"


# Marks, and what applications accept


def test_a_mark_is_seen_by_workers_of_this_version_and_of_the_first(stored):
    backend, app = stored
    for _ in range(2):
        cancel_mark.store(app.backend, "j")
    assert cancel_mark.is_stored(backend, "j")
    assert backend.get_state("taskbridge-cancelled-j") == states.SUCCESS
    assert not cancel_mark.is_stored(backend, "k")


def test_a_mark_is_stored_before_the_first_worker_has_made_a_table(reader):
    cancel_mark.store(reader.backend, "j")
    assert cancel_mark.is_stored(reader.backend, "j")


def test_storing_a_mark_reads_nothing_that_is_there(tmp_path):
    app = Celery("own", backend=f"file://{tmp_path}")
    told = {"exc_type": "Alarm", "exc_message": ["x"], "exc_module": __name__}
    key = tmp_path / "celery-task-meta-taskbridge-cancelled-j"
    key.write_bytes(encoded(status="FAILURE", result=told))
    cancel_mark.store(app.backend, "j")
    assert (cancel_mark.is_stored(app.backend, "j"), Alarm.made) == (True, 0)


def test_servers_services_and_workers_take_json_alone(worker, reader):
    for app in (worker, reader):
        assert app.conf.accept_content == app.conf.result_accept_content == ["json"]
        assert {app.conf[f"{kind}_serializer"] for kind in ("task", "result", "event")} == {"json"}
        assert app.backend.accept == {"application/json"}
