"""How deliveries are signed: as Standard Webhooks says, by the library of its makers."""

from __future__ import annotations

import base64
import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bridge.settings import Settings
from socket_server.archive.webhooks.endpoint import endpoints_of

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(one * 32).decode()}" for one in (b"a", b"b", b"\xff"))


def endpoints(**variables):
    return endpoints_of(
        Settings.from_environ({f"TASKBRIDGE_{name}": one for name, one in variables.items()})
    )


def test_a_library_of_somebody_else_verifies_what_is_signed_with_each_of_several_secrets():
    found = endpoints(
        WEBHOOKS="a=https://a.example/x,b=https://b.example",
        WEBHOOK_SECRETS=f"a={NEW},b={OTHER},a={OLD}",
    )
    body = json.dumps({"type": "job.failed", "data": {"reason": "ä\ud800"}}).encode()
    headers = found["a"].headers("msg_1", int(time.time()), body)
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers)["type"] == "job.failed"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(body + b" ", headers)
    assert headers["webhook-id"] == "msg_1"
    assert found["b"].url == "https://b.example"
    assert OLD not in repr(found)
    assert "example" not in repr(found)


def test_without_settings_there_are_no_endpoints():
    assert endpoints() == {}
