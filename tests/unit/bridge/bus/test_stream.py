"""Whether a channel has a stream, as the broker answers an account that may not declare it."""

from __future__ import annotations

import pytest
from amqp.exceptions import AccessRefused, NotFound
from kombu import Exchange

from bridge import Settings
from bridge.bus import stream


class Channel:
    """A channel of an account that may declare nothing, whose questions fail with an error.

    Args:
        answer: the error, or None where the stream is there.
    """

    def __init__(self, answer):
        self.answer = answer

    def exchange_declare(self, *_, **__):
        raise AccessRefused

    def queue_declare(self, *_, passive=False, **__):
        if not passive:
            raise AccessRefused
        if self.answer:
            raise self.answer

    def queue_bind(self, *_, **__):
        raise AccessRefused

    def close(self):
        pass


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (None, True),
        (NotFound("no queue"), False),
        # RabbitMQ 4.2.6 and later.
        (AccessRefused("access to queue refused"), True),
    ],
)
def test_a_stream_that_an_account_may_not_ask_for_counts_as_the_operators(answer, there):
    class Connection:
        def channel(self):
            return Channel(answer)

    exchange = Exchange("taskbridge", type="fanout", durable=False)
    settings = Settings(broker_url="amqp://")
    assert stream.declare(Connection(), exchange, settings) is there
