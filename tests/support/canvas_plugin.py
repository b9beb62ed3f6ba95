"""A pytest plugin that makes a job of each canvas which another project's tests apply.

``scripts/canvas.py`` loads it into Celery's own integration tests. It says at the end of a run what
became of each job, as JSON in the file ``CANVAS_REPORT``.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
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
from bridge.events import TERMINAL

#: How the canvases of the tests are applied: ``plain``, ``owner`` or ``enqueue``.
MODE = os.environ["CANVAS_MODE"]
#: Seconds that a job may take to end after its test.
END = float(os.environ.get("CANVAS_END", "15"))
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


bridge = Bridge() if MODE != "plain" else None
calls: list[tuple[Call, Any]] = []
_current: ContextVar[Call | None] = ContextVar("call", default=None)
_test = ""


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    result = yield
    if fixturedef.argname == "celery_session_app" and bridge is not None:
        # Before its worker starts.
        install(result, bridge.settings)
    return result


@pytest.fixture(autouse=True)
def _jobs(request: Any) -> Iterator[None]:
    global _test
    _test = request.node.name
    if bridge is None:
        yield
        return
    if MODE == "owner":
        with bridge.owner(OWNER):
            yield
    else:
        yield
    first = next((at for at, (call, _) in enumerate(calls) if call.test == _test), len(calls))
    for call, result in calls[first:]:
        judge(call, result)


def pytest_configure() -> None:
    if MODE == "plain":
        return
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
    assert bridge is not None
    signature = one.s() if isinstance(one, Task) else one
    results: list[Any] = []
    original = Signature.apply_async

    def kept(self: Any, *args: Any, **options: Any) -> Any:
        results.append(original(self, *args, **options))
        return results[-1]

    bridge._app = one.app
    bridge.__dict__.pop("app", None)
    with _results(results):
        job = bridge.enqueue(signature, args, kwargs, owner=OWNER, **options)
    call.jobs = [job.id]
    return results[-1]


class _results:
    """Keep what the outermost ``apply_async`` of a signature returns."""

    def __init__(self, results: list[Any]) -> None:
        self.results = results

    def __enter__(self) -> None:
        self.saved = {
            one: one.apply_async
            for one in {Signature, *Signature.TYPES.values()}
            if "apply_async" in vars(one)
        }
        for one, apply in self.saved.items():
            one.apply_async = self._kept(apply)

    def __exit__(self, *_: object) -> None:
        for one, apply in self.saved.items():
            one.apply_async = apply

    def _kept(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(apply)
        def apply_async(one: Any, *args: Any, **options: Any) -> Any:
            result = apply(one, *args, **options)
            self.results.append(result)  # the outermost is the last
            return result

        return apply_async


def judge(call: Call, result: Any) -> None:
    """Wait for the job of a call to end, and compare it with what Celery says."""
    call.result = _state(result)
    if len(call.jobs) != 1:
        call.wrong = f"{len(call.jobs)} jobs" if call.jobs else "no job"
        if not call.jobs:
            return
    deadline = time.monotonic() + END
    while True:
        found = _status(call.jobs[0])
        call.state, call.done, call.total = found["state"], found["done"], found["total"]
        settled = call.state in TERMINAL and (call.state != "succeeded" or call.done == call.total)
        if settled or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    call.result = _state(result)
    if not settled:
        call.wrong = "never ended"
    elif call.state == "succeeded" and call.result != states.SUCCESS:
        call.wrong = "succeeded, Celery does not say so"
    elif call.state != "succeeded" and call.result == states.SUCCESS and not _any_failed(found):
        call.wrong = "failed without a task that did"


def _status(job: str) -> dict[str, Any]:
    assert bridge is not None
    try:
        return bridge.status(job)
    except JobNotFound:
        return {"state": "not_found", "done": 0, "total": 0, "tasks": []}


def _any_failed(found: dict[str, Any]) -> bool:
    """Whether Celery says, too, of a task of the job that it failed."""
    return any(AsyncResult(task["task"]).state in states.EXCEPTION_STATES for task in found["tasks"])


def _state(result: Any) -> str:
    if isinstance(result, GroupResult):
        found = {_state(one) for one in result.results} or {states.SUCCESS}
        return found.pop() if len(found) == 1 else (states.FAILURE if states.FAILURE in found else states.PENDING)
    return str(result.state) if result is not None else states.SUCCESS
