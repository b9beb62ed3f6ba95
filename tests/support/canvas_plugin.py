"""A pytest plugin that makes a job of each canvas that Celery's own tests apply.

``scripts/canvas.py`` loads it. At the end of a run it writes what became of each call, as JSON,
into the file ``CANVAS_REPORT``.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import signals, states
from celery.app.task import Task
from celery.canvas import Signature
from celery.result import AsyncResult, GroupResult

from bridge import Bridge, install
from bridge.errors import JobNotFound
from bridge.protocol.event import TERMINAL

#: How the canvases of the tests are applied: ``owner`` or ``enqueue``.
MODE = os.environ["CANVAS_MODE"]
#: Seconds that a job may take to end after its test.
END = 15.0
OWNER = "celery's tests"
#: Celery's own helpers are no tasks of a job.
HELPERS = frozenset({"celery.chord_unlock"})


@dataclass
class Call:
    """One call of a test that started something, and what it started."""

    test: str
    canvas: str
    #: Ids of the jobs that its messages belong to.
    jobs: list[str] = field(default_factory=list)
    state: str = ""
    done: int = 0
    total: int = 0
    #: Celery's word on its result, and what is wrong between the two.
    result: str = ""
    wrong: str = ""


bridge = Bridge()
calls: list[tuple[Call, Any]] = []
_current: ContextVar[Call | None] = ContextVar("call", default=None)
_test = ""


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    result = yield
    if fixturedef.argname == "celery_session_app":
        # Before its worker starts.
        install(result, bridge.settings)
    return result


@pytest.fixture(autouse=True)
def _jobs(request: Any) -> Iterator[None]:
    global _test
    _test, first = request.node.name, len(calls)
    with bridge.owner(OWNER) if MODE == "owner" else nullcontext():
        yield
    for call, result in calls[first:]:
        judge(call, result)


def pytest_configure() -> None:
    signals.after_task_publish.connect(_published, weak=False)
    for one in {Task, Signature, *Signature.TYPES.values()}:
        if "apply_async" in vars(one):
            one.apply_async = _recorded(one.apply_async)


def pytest_sessionfinish() -> None:
    if path := os.environ.get("CANVAS_REPORT"):
        Path(path).write_text(json.dumps([asdict(call) for call, _ in calls]))


def _published(sender: str, headers: dict[str, Any], **_: Any) -> None:
    call = _current.get()
    if call is not None and sender not in HELPERS and headers["root_id"] not in call.jobs:
        call.jobs.append(headers["root_id"])


def _recorded(apply: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def apply_async(self: Any, *args: Any, **options: Any) -> Any:
        # Only what the test itself calls: not what Celery calls on its behalf, not the worker.
        if _current.get() is not None or self.app.current_worker_task or not _test:
            return apply(self, *args, **options)
        call = Call(_test, repr(self)[:200])
        token = _current.set(call)
        try:
            if MODE == "owner":
                result = apply(self, *args, **options)
            else:
                result = _enqueue(call, self, *args, **options)
        finally:
            _current.reset(token)
        calls.append((call, result))
        return result

    return apply_async


def _enqueue(call: Call, one: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
    """Apply a canvas through ``Bridge.enqueue`` and return the result that Celery made of it."""
    signature = one.s() if isinstance(one, Task) else one
    results: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind in {Signature, *Signature.TYPES.values()}:
            if "apply_async" in vars(kind):
                patch.setattr(kind, "apply_async", _kept(kind.apply_async, results))
        sender = Bridge(app=one.app, settings=bridge.settings)
        job = sender.enqueue(signature, args, kwargs, owner=OWNER, **options)
    call.jobs = [job.id]
    return results[-1]


def _kept(apply: Callable[..., Any], results: list[Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def apply_async(one: Any, *args: Any, **options: Any) -> Any:
        result = apply(one, *args, **options)
        if _current.get() is not None:  # not what the worker applies on a thread of its own
            results.append(result)  # that of the outermost call is the last
        return result

    return apply_async


def judge(call: Call, result: Any) -> None:
    """Wait for the job of a call to end, and compare it with what Celery says."""
    if not call.jobs:  # an empty group, or a task that is called eagerly
        return
    found: dict[str, Any] = {}
    deadline = time.monotonic() + END
    while time.monotonic() < deadline and not _settled(found):
        found = _status(call.jobs[0])
        time.sleep(0.05)
    call.state, call.done, call.total = found["state"], found["done"], found["total"]
    call.result = _state(result)
    if len(call.jobs) > 1:
        call.wrong = f"{len(call.jobs)} jobs"
    elif not _settled(found):
        call.wrong = "it never ended"
    elif call.state == "succeeded" and call.result != states.SUCCESS:
        call.wrong = "it succeeded, and Celery's result did not"
    elif call.state != "succeeded" and call.result == states.SUCCESS and not _any_failed(found):
        call.wrong = "it did not succeed, and all of its tasks did"


def _settled(found: dict[str, Any]) -> bool:
    """Whether a job has ended; of one that failed, what follows the failed task never runs."""
    ended = found.get("state") in TERMINAL
    return ended and (found["state"] != "succeeded" or found["done"] == found["total"])


def _status(job: str) -> dict[str, Any]:
    try:
        return bridge.status(job)
    except JobNotFound:
        return {"state": "not_found", "done": 0, "total": 0, "tasks": []}


def _any_failed(found: dict[str, Any]) -> bool:
    """Whether Celery says, too, of a task of the job that it failed."""
    ends = (AsyncResult(task["task"]).state for task in found["tasks"])
    return any(end in states.EXCEPTION_STATES for end in ends)


def _state(result: Any) -> str:
    if not isinstance(result, GroupResult):
        return str(result.state) if result is not None else states.SUCCESS
    found = {_state(one) for one in result.results}
    if found <= {states.SUCCESS}:
        return states.SUCCESS
    return states.FAILURE if states.FAILURE in found else states.PENDING
