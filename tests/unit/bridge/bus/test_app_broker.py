"""Broker and result backend of a Celery application, as settings have them."""

from __future__ import annotations

import ssl

import pytest
from celery import Celery

from bridge import Settings
from bridge.bus.app_broker import settings_with_app
from bridge.bus.tls import target
from support.certificates import Authority


def found(settings=None, **conf):
    app = Celery("unit", set_as_current=False)
    app.conf.update(conf)
    return settings_with_app(settings or Settings(), app)


def broker(settings=None, **conf):
    new, problem = found(settings, **conf)
    assert problem == ""
    return new.broker_url


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        ({}, None),
        ({"broker_url": "amqp://u:p@h/v"}, "amqp://u:p@h/v"),
        ({"broker_url": "h"}, "amqp://h"),
        ({"broker_url": "redis://:p@h:6379/2"}, "redis://:p@h:6379/2"),
        ({"broker_url": ["amqp://a", "amqp://b"]}, "amqp://a;amqp://b"),
        ({"broker_url": "amqp://a;amqp://b"}, "amqp://a;amqp://b"),
        ({"broker_read_url": "amqp://r", "broker_write_url": "amqp://w"}, "amqp://w"),
        (
            {"broker_url": "amqp://h", "broker_login_method": "EXTERNAL"},
            "amqp://h?login_method=EXTERNAL",
        ),
        ({"broker_url": "amqp://h//", "broker_use_ssl": True}, "amqps://h//"),
        (
            {"broker_url": "redis://h", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}},
            "rediss://h?ssl_cert_reqs=CERT_NONE",
        ),
        (
            {"broker_url": "rediss://h?ssl_cert_reqs=none", "broker_use_ssl": {
                "ssl_cert_reqs": "required", "ssl_check_hostname": False}},
            "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
        ),
    ],
)  # fmt: skip
def test_the_applications_broker_is_that_of_events(conf, url):
    assert broker(**conf) == url


def test_celerys_own_variable_names_it_too(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://of-celery")
    assert broker() == "amqp://of-celery"


def test_a_setting_wins():
    given = Settings(broker_url="amqp://s", result_url="redis://s")
    assert found(given, broker_url="amqp://a", result_backend="redis://a").settings == given


def test_tls_files_of_the_application_are_used_unless_a_setting_names_others(tmp_path):
    authority = Authority(tmp_path)
    other = tmp_path / "other.pem"
    other.write_bytes(authority.file.read_bytes())
    tls = {"ca_certs": str(authority.file), "cert_reqs": ssl.CERT_REQUIRED}
    conf = {"broker_url": "amqp://h", "broker_use_ssl": tls}
    new = found(**conf).settings
    assert target(new, new.broker).ssl["ca_certs"] == str(authority.file)
    new = found(Settings(broker_cafile=other), **conf).settings
    assert target(new, new.broker).ssl["ca_certs"] == str(other)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("sqs://u:hush@", "must start with"),
        ("redis+socket:///tmp/hush", "must start with"),
        ("amqp://h?hush=1", "may have the parameters"),
        ("rediss://h?ssl_ca_certs=/no/file", "must be a file"),
        ({"hush": 1}, "text"),
    ],
)
def test_a_broker_that_cannot_carry_events_is_a_sentence_that_names_the_setting(url, part):
    new, problem = found(broker_url=url)
    assert new.broker_url is None
    assert part in problem
    assert "set TASKBRIDGE_BROKER_URL" in problem
    assert "u:hush" not in problem


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        ({}, None),
        ({"result_backend": "redis://h/1"}, "redis://h/1"),
        ({"result_backend": "db+postgresql://h/d"}, "db+postgresql://h/d"),
        ({"result_backend": "rediss://h?ssl_cert_reqs=CERT_REQUIRED"},
         "rediss://h?ssl_cert_reqs=CERT_REQUIRED"),
        ({"result_backend": "rediss://h", "redis_backend_use_ssl": {"ssl_cert_reqs": 0}},
         "rediss://h?ssl_cert_reqs=CERT_NONE"),
        ({"result_backend": "rediss://h?ssl_ca_certs=/no/file"}, None),
        ({"result_backend": "rpc://"}, "rpc://"),
    ],
)  # fmt: skip
def test_the_applications_results_are_those_that_are_read(conf, url):
    assert found(**conf).settings.result_url == url
