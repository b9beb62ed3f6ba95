"""What a worker's parent ends, when a job is cancelled."""

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.app.task import Context
from celery.worker import state as worker_state
from celery.worker.request import Request
from kombu.asynchronous.timer import Timer

from bridge.cancelling import termination
from bridge.settings import Settings

SETTINGS = Settings(cancel_grace=3.0)
JOB = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def app():
    app = Celery("ending", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(name="work", shared=False)
    def work():
        pass

    app.finalize()
    yield app
    app.backend.forget(JOB)


@pytest.fixture(autouse=True)
def _empty_worker():
    yield
    for known in (worker_state.requests, worker_state.active_requests, worker_state.revoked):
        known.clear()


@pytest.fixture
def consumer():
    dropped = []
    qos = SimpleNamespace(decrement_eventually=lambda: dropped.append(1))
    pool = SimpleNamespace(terminate_job=lambda *args: None)
    return SimpleNamespace(timer=Timer(), pool=pool, qos=qos, dropped=dropped)


def received(app, acknowledged):
    """Return the request of an attempt, as a worker makes it of a message."""
    message = SimpleNamespace(
        headers={"id": JOB, "root_id": JOB, "task": "work"},
        properties={},
        delivery_info={},
    )
    return Request(
        message,
        app=app,
        task=app.tasks["work"],
        on_ack=lambda *args: acknowledged.append(1),
        headers=message.headers,
        body=([], {}, {}),
        decoded=True,
        hostname="here",
    )


def wait_in_timer(consumer, request):
    request._eta_timer_entry = consumer.timer.call_after(600, lambda *_: None, (request,))


def test_a_retry_that_is_received_before_the_end_of_its_attempt_is_told_is_dropped(app, consumer):
    acknowledged = []
    attempt, again = received(app, []), received(app, acknowledged)
    worker_state.active_requests.add(attempt)
    worker_state.requests[JOB] = attempt
    wait_in_timer(consumer, again)
    app.backend.store_result(JOB, ValueError("not yet"), "RETRY", request=Context(id=JOB))
    termination.cancel(SimpleNamespace(consumer=consumer), JOB, SETTINGS)
    assert app.AsyncResult(JOB).state == "REVOKED"
    assert acknowledged == consumer.dropped == [1]


def test_an_attempt_that_runs_is_not_revoked_before_its_grace_is_over(app, consumer):
    attempt = received(app, [])
    worker_state.active_requests.add(attempt)
    worker_state.requests[JOB] = attempt
    termination.cancel(SimpleNamespace(consumer=consumer), JOB, SETTINGS)
    assert JOB not in worker_state.revoked
    assert app.AsyncResult(JOB).state == "PENDING"
