"""An application that asks for durable tasks gets what they need; its own settings win."""

from __future__ import annotations

from types import SimpleNamespace

from celery import Celery, signals
from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from bridge import Durability, Settings
from bridge.durable import installation, lost_tasks
from bridge.durable.annotation import LOST_RETRY_DELAY

SETTINGS = Settings(broker_url="memory://", stop_grace=7.0)
NOTHING = Durability(*[False] * 6)


def nothing():
    """Do nothing: the body of tasks."""


def new_app(durability=Durability(), *, configure=None, **conf):  # noqa: B008 - it is frozen
    """Return an application with one task, made durable before or after it is configured."""
    app = Celery("own", broker="memory://", backend="db+sqlite://", set_as_current=False)
    app.conf.update(conf)
    installation.install(app, durability, SETTINGS)
    if configure:
        configure(app)
    app.task(name="one", shared=False)(nothing)
    return app


def started(app):
    """Return an application after a worker of it has begun to start."""
    signals.celeryd_init.send("celery@here", instance=SimpleNamespace(app=app), conf=app.conf)
    return app


def test_tasks_get_the_defaults():
    task = new_app().tasks["one"]
    assert task.acks_late
    assert task.track_started
    assert task.default_retry_delay == LOST_RETRY_DELAY
    assert task.Request == "bridge.durable.redelivery:DeduplicatedRequest"


def test_a_setting_of_the_application_wins():
    app = new_app(task_acks_late=False, worker_soft_shutdown_timeout=1.0)
    assert not app.tasks["one"].acks_late
    assert app.conf.worker_soft_shutdown_timeout == 1.0


def test_annotations_that_the_application_sets_afterwards_are_kept_beside():
    def configure(app):
        app.conf.task_annotations = {"one": {"rate_limit": "5/m", "default_retry_delay": 9}}

    task = new_app(configure=configure).tasks["one"]
    assert task.rate_limit == "5/m"
    assert task.default_retry_delay == 9
    assert task.Request == "bridge.durable.redelivery:DeduplicatedRequest"


def test_tasks_that_exist_already_are_annotated():
    app = Celery("own", broker="memory://", set_as_current=False)
    task = app.task(name="one", shared=False)(nothing)
    app.finalize()
    installation.install(app, Durability(), SETTINGS)
    assert app.tasks[task.name].Request == "bridge.durable.redelivery:DeduplicatedRequest"


def test_a_process_that_is_no_worker_publishes_and_stores_as_before():
    app = new_app()
    assert app.amqp_cls == "celery.app.amqp:AMQP"
    assert not app.conf.result_backend_always_retry
    assert "ForkSafe" not in type(app.backend).__name__


def test_a_worker_publishes_with_confirms_and_stores_with_retries():
    app = started(new_app())
    assert type(app.amqp).__module__ == "bridge.durable.task_producer"
    assert app.conf.result_backend_always_retry
    assert type(app.backend).__name__ == "ForkSafeBackend"


def test_what_is_switched_off_is_not_there():
    app = started(new_app(NOTHING))
    task = app.tasks["one"]
    assert not task.acks_late
    assert task.default_retry_delay == 180
    assert task.Request == "celery.worker.request:Request"
    assert app.amqp_cls == "celery.app.amqp:AMQP"
    assert app.conf.worker_soft_shutdown_timeout == 0.0


def test_another_application_of_the_process_is_left_alone():
    durable, other = new_app(), Celery("other", broker="memory://", set_as_current=False)
    other.task(name="one", shared=False)(nothing)
    started(durable)
    assert not other.tasks["one"].acks_late
    assert other.amqp_cls == "celery.app.amqp:AMQP"


def test_a_second_call_replaces_the_first():
    app = new_app()
    installation.install(app, NOTHING, SETTINGS)
    assert started(app).amqp_cls == "celery.app.amqp:AMQP"


def test_the_event_loop_of_a_worker_is_known_after_a_reconnect():
    hub = set_event_loop(Hub())
    try:
        app = new_app()
        worker = SimpleNamespace(app=app, hub=hub)
        signals.celeryd_init.send("celery@here", instance=worker, conf=app.conf)
        hub.reset()  # as Celery does when it has lost the broker
        assert get_event_loop() is None
        assert lost_tasks.event_loop() is hub
    finally:
        hub.close()
        lost_tasks._workers.clear()


def test_no_pool_thread_changes_the_prefetch_count():
    """It would wait for an answer on the connection that the worker's main thread reads."""
    assert not new_app().conf.worker_enable_prefetch_count_reduction
