"""The stream in which RabbitMQ keeps what is published on the channel.

Emitters and servers declare the same one, so what was published before any server existed, or
while none could listen, is kept for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp.exceptions import ChannelError
from kombu import Exchange

from bridge.settings import Settings

__all__ = ["StreamAway", "arguments", "declare", "is_amqp", "name_of"]

#: Bytes of one file of the stream; RabbitMQ forgets whole files only, and its default of 500 MB
#: would make any bound on age or size a coarse one.
SEGMENT_BYTES = 16 * 1024 * 1024


def is_amqp(url: str) -> bool:
    """Whether a broker speaks AMQP, and so may know streams."""
    return url.startswith(("amqp:", "amqps:", "pyamqp:"))


def name_of(channel: str) -> str:
    """Return the name of a channel's stream."""
    return f"{channel}.stream"


class StreamAway(ConnectionError):
    """The stream exists, and the node that has it is not up yet."""


def declare(connection: Any, exchange: Exchange, settings: Settings) -> bool:
    """Declare the channel's exchange and stream, and bind them.

    What exists stays as it is, however it was declared, and who may not declare relies on what the
    operator did.

    Returns:
        Whether there is a stream.

    Raises:
        StreamAway: there is one, which cannot be written to now.
        amqp.ConnectionError, OSError: the broker is away.
    """
    _attempt(connection, lambda channel: exchange(channel).declare())
    name, told = name_of(settings.channel), arguments(settings)
    there = _attempt(
        connection,
        lambda channel: channel.queue_declare(
            name, durable=True, auto_delete=False, arguments=told
        ),
    ) or _attempt(connection, lambda channel: channel.queue_declare(name, passive=True))
    if there:
        _attempt(connection, lambda channel: channel.queue_bind(name, exchange.name))
    return there


def arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments with which the stream is declared."""
    return {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, int(settings.replay))}s",
        "x-max-length-bytes": settings.stream_bytes,
        # Several of them, so that what was just read is not forgotten with the first one's end.
        "x-stream-max-segment-size-bytes": max(1, min(SEGMENT_BYTES, settings.stream_bytes // 4)),
    }


def _attempt(connection: Any, action: Callable[[Any], Any]) -> bool:
    """Do something on a channel of its own, since a refusal closes it; return whether it worked."""
    channel = connection.channel()
    try:
        action(channel)
    except ChannelError as error:
        if "inaccessible" in str(error):
            raise StreamAway(str(error)) from error
        return False
    channel.close()
    return True
