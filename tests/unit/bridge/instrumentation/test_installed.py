"""The settings of a process: those of install, completed from the application."""

from __future__ import annotations

import logging

import pytest
from celery import Celery

from bridge import Bridge, Settings
from bridge.bus import audience, embedded_transport
from bridge.instrumentation import installed


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    """Begin as a process without an installed application, whatever other tests have installed."""
    for name in ("_settings", "_unread", "_app", "_given_broker"):
        monkeypatch.setattr(installed, name, None)
    monkeypatch.setattr(installed, "_problem", "")
    monkeypatch.delenv("TASKBRIDGE_BROKER_URL", raising=False)


@pytest.fixture
def app():
    return Celery("unit", set_as_current=False)


def test_the_application_may_be_configured_after_it_is_installed(app):
    installed.replace_settings(Settings(), app)
    assert not app.configured
    app.conf.broker_url = "amqp://later"
    assert installed.settings().broker == "amqp://later"


def test_where_neither_names_a_broker_it_is_the_embedded_one(app):
    installed.replace_settings(Settings(), app)
    assert installed.settings() == Settings()


def test_a_service_uses_the_broker_of_its_application_or_of_the_installed_one(app):
    app.conf.broker_url = "amqp://a"
    assert Bridge(app=app).settings.broker == "amqp://a"
    assert Bridge("amqp://b", app=app).settings.broker == "amqp://b"
    assert Bridge().settings.embedded
    installed.replace_settings(Settings(), app)
    assert Bridge().settings.broker == "amqp://a"
    assert Bridge(settings=Settings()).settings.embedded


def test_a_worker_says_where_its_events_go_without_the_password(app, caplog):
    app.conf.broker_url = "memory://u:hush@h"
    installed.replace_settings(Settings(), app)
    with caplog.at_level(logging.INFO):
        installed.announce()
    assert "events go to memory://u:**@h/, channel taskbridge" in caplog.text
    assert "hush" not in caplog.text


def test_a_worker_says_why_the_broker_of_its_application_is_not_used(app, caplog, tmp_path):
    app.conf.broker_url = "sqs://u:hush@"
    installed.replace_settings(Settings(home=tmp_path, events_url="memory://"), app)
    installed.announce()
    assert "cannot carry events" in caplog.text
    assert "hush" not in caplog.text


def test_on_the_embedded_broker_a_bound_queue_is_a_server(tmp_path):
    from kombu import Exchange, Queue

    from bridge.bus.connection import connect

    embedded_transport.register()
    settings = Settings(home=tmp_path)
    assert audience.is_heard(settings, "taskbridge") is False
    with connect(settings, settings.events) as connection:
        channel = connection.channel()
        exchange = Exchange("taskbridge", type="fanout", durable=False)
        Queue("server", exchange, durable=False, exclusive=True)(channel).declare()
        assert audience.is_heard(settings, "taskbridge") is True
    assert audience.is_heard(Settings(events_url="memory://"), "taskbridge") is None
