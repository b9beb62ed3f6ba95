"""A task that the broker does not confirm in time is refused, and published once."""

from __future__ import annotations

import kombu
import pytest

from bridge.bus import confirms
from bridge.errors import BrokerUnavailable

HEADERS = {"task": "a.task"}


@pytest.fixture
def published(monkeypatch):
    """Arguments of each publish, of which none is confirmed."""
    published = []

    def publish(producer, *arguments, **options):
        published.append(arguments)
        raise TimeoutError

    monkeypatch.setattr(kombu.Producer, "_publish", publish)
    return published


@pytest.fixture
def producer():
    with kombu.Connection("memory://localhost") as connection:
        yield confirms.Producer(connection)


@pytest.mark.parametrize("retry", [False, True])
def test_a_confirm_that_does_not_come_in_time(producer, published, retry):
    before = producer.connection.connection
    with pytest.raises(BrokerUnavailable, match="may have taken this"):
        producer.publish({}, routing_key="q", headers=HEADERS, retry=retry)
    assert len(published) == 1
    # On the old connection, the confirm may come when another one is waited for.
    assert producer.connection.connection is not before


@pytest.mark.parametrize("given", [None, 3.0])
def test_it_waits_for_its_patience_unless_told_otherwise(producer, monkeypatch, given):
    told = {}

    monkeypatch.setattr(
        kombu.Producer, "publish", lambda self, body, **options: told.update(options)
    )
    producer.publish({}, routing_key="q", headers=HEADERS, confirm_timeout=given)
    assert (told["mandatory"], told["confirm_timeout"]) == (True, given or confirms.PATIENCE)
    told.clear()
    producer.publish({}, routing_key="q", headers={})
    bounds = {"confirm_timeout": confirms.PATIENCE, "retry_policy": confirms.RETRY_POLICY}
    assert told == {"headers": {}, "routing_key": "q", **bounds}
