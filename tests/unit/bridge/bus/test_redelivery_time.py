"""After what time a broker delivers the message of a dead worker again."""

import pytest
from celery import Celery

from bridge.bus.redelivery_time import redelivered_within

OFTEN = {"unacked_restore_interval": 2, "unacked_restore_throttle": 1}


@pytest.mark.parametrize(
    ("url", "options", "within"),
    [
        ("amqp://", {}, 0),
        ("amqps://host//", {"visibility_timeout": 5}, 0),
        ("redis://host/0", {}, 3700),
        ("rediss://host/0", {"visibility_timeout": 20}, 120),
        ("redis://host/0", {"visibility_timeout": 20, **OFTEN}, 22),
        ("sentinel://host", {"visibility_timeout": 20.5}, 120.5),
        ("embedded://", {}, None),
        ("sqs://", {}, None),
    ],
)
def test_it_is_known_for_rabbitmq_and_redis(url, options, within):
    app = Celery("any", broker=url, set_as_current=False)
    app.conf.broker_transport_options = options
    assert redelivered_within(app) == within
