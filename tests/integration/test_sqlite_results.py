"""Results in SQLite, stored by processes that were forked at a bad moment."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys, threading
from types import SimpleNamespace
from celery import signals
from sqlalchemy import text
from bridge.settings import Settings
from workers.app import new_app

app = new_app(Settings.from_environ())
signals.celeryd_init.send("celery@here", instance=SimpleNamespace(app=app), conf=app.conf)
backend = app.backend
backend.session_manager.prepare_models(backend.ResultSession().get_bind())
inside, done = threading.Event(), threading.Event()

def transaction():
    session = backend.ResultSession()
    session.execute(text("BEGIN IMMEDIATE"))
    inside.set()
    done.wait(1)
    session.commit()
    session.close()

thread = threading.Thread(target=transaction)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    backend.max_retries = 1
    backend.store_result("its-own", 1, "SUCCESS")
    os._exit(0)
thread.join()
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, status
assert backend.get_result("its-own") == 1
"""

CONNECTING = """
import os, threading
from types import SimpleNamespace
from celery import signals
from bridge.settings import Settings
from workers.app import new_app

app = new_app(Settings.from_environ())
signals.celeryd_init.send("celery@here", instance=SimpleNamespace(app=app), conf=app.conf)
backend = app.backend
engine = backend.ResultSession().get_bind()
connect, inside, done = engine.dialect.connect, threading.Event(), threading.Event()

def slowly(*arguments, **options):
    inside.set()
    threading.Event().wait(1)
    done.set()
    return connect(*arguments, **options)

engine.dispose()
engine.dialect.connect = slowly
threading.Thread(target=lambda: engine.connect().close()).start()
inside.wait()
child = os.fork()
os._exit(0) if child == 0 else os.waitpid(child, 0)
assert done.is_set(), "forked in the midst of connecting"
"""


def test_a_process_is_not_forked_while_another_thread_connects(tmp_path):
    env = {"TASKBRIDGE_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", CONNECTING], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_forked_while_another_thread_stores_can_store_too(tmp_path):
    env = {"TASKBRIDGE_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
