"""What is on the bus, read from RabbitMQ's stream: all of it, whoever listened or did not."""

from __future__ import annotations

import json
from typing import Any

import kombu

from bridge.bus.stream import name_of
from bridge.protocol.event import Event
from bridge.settings import Settings
from support.wait import until

__all__ = ["Bus"]


class Bus:
    """A reader of the stream.

    Args:
        settings: channel, and the broker's URL unless another is given.
        url: where the broker is reached directly.
    """

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        self._url = url or settings.broker
        self._name = name_of(settings.channel)

    def events(self) -> list[Event]:
        """Return all events so far, duplicates left out as every reader does, in order."""
        last: dict[str, tuple[int, int, int]] = {}
        kept = []
        told = [one["data"][0] for one in self.messages() if one["event"] == "job"]
        for event in map(Event.decode, told):
            if event.order > last.get(event.task, (-1, -1, -1)):
                last[event.task] = event.order
                kept.append(event)
        return kept

    def await_end(self, task: str, timeout: float = 30.0) -> list[Event]:
        """Return the events of a task, once the last is there."""

        def ended() -> list[Event]:
            mine = [event for event in self.events() if event.task == task]
            return mine if mine and mine[-1].terminal else []

        return until(ended, timeout, f"the end of {task} on the bus", interval=0.5)

    def messages(self) -> list[dict[str, Any]]:
        """Return all messages so far, in order, copies and servers' probes among them."""
        with kombu.Connection(self._url, connect_timeout=5) as connection:
            try:
                bodies = self._read(connection)
            except (*connection.channel_errors, *connection.connection_errors):
                return []  # nobody has published yet, or the stream is just being made
            return [json.loads(body) for body in bodies]

    def _read(self, connection: Any) -> list[bytes]:
        found: list[bytes] = []
        channel = connection.default_channel
        count = channel.queue_declare(self._name, passive=True).message_count
        channel.basic_qos(0, 1000, False)

        def take(message: Any) -> None:
            found.append(message.body)
            channel.basic_ack(message.delivery_tag)

        arguments = {"x-stream-offset": "first"}
        tag = channel.basic_consume(self._name, callback=take, arguments=arguments)
        while len(found) < count:
            connection.drain_events(timeout=5)
        channel.basic_cancel(tag)
        return found[:count]
