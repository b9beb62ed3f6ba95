"""What is published with confirms waits for them with a bound, whatever it is."""

from __future__ import annotations

import kombu
import pytest

from bridge import confirming


@pytest.mark.parametrize(
    ("headers", "mandatory"), [({"task": "t"}, True), ({"clock": 1}, None), (None, None)]
)
def test_a_broker_that_confirms_nothing_holds_nobody_for_ever(headers, mandatory, monkeypatch):
    seen = {}
    monkeypatch.setattr(kombu.Producer, "publish", lambda _, body, **told: seen.update(told))
    producer = confirming.Producer.__new__(confirming.Producer)
    producer.publish("body", headers=headers)
    assert seen["confirm_timeout"] == confirming.PATIENCE
    assert seen.get("mandatory") is mandatory
    producer.publish("body", headers=headers, confirm_timeout=3)
    assert seen["confirm_timeout"] == 3
