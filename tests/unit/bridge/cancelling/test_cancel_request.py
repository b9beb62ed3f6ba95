"""When a worker asks the result backend whether a job was cancelled."""

from types import SimpleNamespace

import pytest

from bridge.cancelling import cancel_request
from bridge.settings import Settings
from support.clock import Clock

#: Seconds that a cancelled task may run on.
GRACE = 3.0
SETTINGS = Settings(broker_url="amqp://", cancel_grace=GRACE)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cancel_request, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr(cancel_request, "_listening", (None, 0.0))
    return clock


def consumer(*, is_green=False):
    return SimpleNamespace(connection=object(), pool=SimpleNamespace(is_green=is_green))


def test_what_comes_first_on_a_connection_may_have_been_cancelled_before_it(clock):
    assert cancel_request.may_have_missed(consumer(), clock(), SETTINGS)


def test_what_was_published_just_before_the_worker_listened_may_have_been_cancelled_too(clock):
    worker = consumer()
    cancel_request.may_have_missed(worker, clock(), SETTINGS)
    published = clock() - 0.1
    clock.tick(0.5)
    assert cancel_request.may_have_missed(worker, published, SETTINGS)


def test_what_comes_at_once_to_a_worker_that_has_listened_for_long_needs_no_look(clock):
    worker = consumer()
    cancel_request.may_have_missed(worker, clock(), SETTINGS)
    clock.tick(10)
    assert not cancel_request.may_have_missed(worker, clock() - 0.1, SETTINGS)


@pytest.mark.parametrize(
    ("is_green", "settings"), [(True, SETTINGS), (False, Settings(cancel_grace=GRACE))]
)
def test_a_task_that_may_overtake_a_command_is_looked_up(clock, is_green, settings):
    worker = consumer(is_green=is_green)
    cancel_request.may_have_missed(worker, clock(), settings)
    clock.tick(10)
    assert cancel_request.may_have_missed(worker, clock() - 0.1, settings)


def test_what_has_waited_may_have_been_cancelled_while_the_worker_was_busy(clock):
    worker = consumer()
    cancel_request.may_have_missed(worker, clock(), SETTINGS)
    clock.tick(1000)
    assert cancel_request.may_have_missed(worker, clock() - 400, SETTINGS)


def test_what_a_task_publishes_that_was_cancelled_before_the_worker_listened_is_looked_up(clock):
    worker = consumer()
    cancel_request.may_have_missed(worker, clock(), SETTINGS)
    clock.tick(GRACE)
    assert cancel_request.may_have_missed(worker, clock(), SETTINGS)


def test_a_new_connection_begins_anew(clock):
    cancel_request.may_have_missed(consumer(), clock(), SETTINGS)
    clock.tick(10)
    assert cancel_request.may_have_missed(consumer(), clock() - 0.1, SETTINGS)


def test_a_task_that_does_not_say_when_it_was_published_is_looked_up(clock):
    worker = consumer()
    cancel_request.may_have_missed(worker, clock(), SETTINGS)
    clock.tick(10)
    assert cancel_request.may_have_missed(worker, None, SETTINGS)
