"""The archive's process: what it refuses, and what it never imports."""

from __future__ import annotations

import os
import subprocess
import sys

from support.process import ROOT, finished

ARCHIVE = [sys.executable, "-m", "socket_server.archive"]


def environ(**variables):
    kept = {name: one for name, one in os.environ.items() if "TASKBRIDGE" not in name}
    return {**kept, **{f"TASKBRIDGE_{name}": one for name, one in variables.items()}}


def test_without_a_database_it_ends_with_a_sentence():
    done = finished(ARCHIVE, ROOT, environ())
    told = "taskbridge: TASKBRIDGE_ARCHIVE_URL is not set: it names the database to write\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_it_runs_on_plain_threads():
    names = "reader", "health_server", "migrating", "retention", "__main__"
    modules = ", ".join(f"socket_server.archive.{name}" for name in names)
    code = f"import {modules}, sys; print([m for m in ('eventlet', 'gevent') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
