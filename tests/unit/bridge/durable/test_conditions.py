"""A worker says which promises cannot hold with its application's settings."""

from __future__ import annotations

import pytest
from celery import Celery

from bridge import Durability, Settings
from bridge.durable import conditions, installation

CASES = {
    "a task whose worker dies is lost: remove task_acks_late = False": {"task_acks_late": False},
    "a task whose pool process dies is not tried again": {"task_retry_on_worker_lost": False},
    "tasks are cancelled when the worker loses the broker": {
        "worker_cancel_long_running_tasks_on_connection_loss": True
    },
    "no result backend says that it ended": {"result_backend": "rpc://"},
    "Redis delivers a task that takes more than 3600 s again": {"broker_url": "redis://"},
    "Redis delivers a task that takes more than 60 s again": {
        "broker_url": "redis://",
        "broker_transport_options": {"visibility_timeout": 60},
    },
    "tasks with acks_late=False are lost with their worker: quick": {
        "task_annotations": {"quick": {"acks_late": False}}
    },
}


def nothing():
    """Do nothing: the body of tasks."""


def sentences(durability=Durability(), **conf):  # noqa: B008 - it is frozen
    app = Celery("own", broker="amqp://", backend="db+sqlite://", set_as_current=False)
    app.conf.update(conf)
    app.task(name="quick", shared=False)(nothing)
    installation.install(app, durability, Settings(broker_url="memory://"))
    app.amqp_cls = "bridge.durable.task_producer:AMQP"
    app.finalize()
    for name in [*app.tasks]:  # those of other tests' modules, which all applications share
        if name != "quick":
            del app.tasks[name]
    return list(conditions.unmet(app, durability))


def test_with_settings_that_fit_nothing_is_said():
    assert sentences() == []
    options = {"visibility_timeout": 2 * 24 * 60 * 60}
    assert sentences(broker_url="redis://", broker_transport_options=options) == []


@pytest.mark.parametrize("expected", CASES)
def test_a_setting_that_breaks_a_promise_is_named(expected):
    [said] = sentences(**CASES[expected])
    assert expected in said


def test_of_parts_that_are_switched_off_nothing_is_said():
    every = {key: value for conf in CASES.values() for key, value in conf.items()}
    assert sentences(Durability(*[False] * 6), **every) == []


def test_an_amqp_class_of_the_applications_own_is_named():
    app = Celery("own", broker="amqp://", backend="db+sqlite://", set_as_current=False)
    app.amqp_cls = "shop.amqp:AMQP"
    assert any("an amqp class of its own" in one for one in conditions.unmet(app, Durability()))
