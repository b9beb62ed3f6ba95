"""The stream in which RabbitMQ keeps what is published on the channel.

Emitters and servers declare the same one, so what was published before any server existed, or
while none could listen, is kept for it.
"""

from __future__ import annotations

from typing import Any

from amqp.exceptions import ChannelError
from kombu import Exchange

from bridge.settings import Settings

__all__ = ["declare", "is_amqp", "name_of"]

#: Bytes of one file of the stream; RabbitMQ forgets whole files only, and its default of 500 MB
#: would make any bound on age or size a coarse one.
SEGMENT_BYTES = 16 * 1024 * 1024


def is_amqp(settings: Settings) -> bool:
    """Whether the broker speaks AMQP, and so may know streams."""
    return settings.broker.startswith(("amqp:", "amqps:", "pyamqp:"))


def name_of(settings: Settings) -> str:
    """Return the name of the stream."""
    return f"{settings.channel}.stream"


def declare(connection: Any, exchange: Exchange, settings: Settings) -> bool:
    """Declare the channel's exchange and stream, and bind them.

    What exists stays as it is, however it was declared, and who may not declare relies on what the
    operator did.

    Returns:
        Whether there is a stream.

    Raises:
        amqp.ConnectionError, OSError: the broker is away.
    """
    _attempt(connection, lambda channel: exchange(channel).declare())
    if not _has_stream(connection, settings):
        return False
    _attempt(connection, lambda channel: channel.queue_bind(name_of(settings), exchange.name))
    return True


def _has_stream(connection: Any, settings: Settings) -> bool:
    return _attempt(connection, lambda channel: _declare(channel, settings)) or _attempt(
        connection, lambda channel: channel.queue_declare(name_of(settings), passive=True)
    )


def _declare(channel: Any, settings: Settings) -> None:
    arguments = {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, int(settings.replay))}s",
        "x-max-length-bytes": settings.stream_bytes,
        "x-stream-max-segment-size-bytes": min(SEGMENT_BYTES, settings.stream_bytes),
    }
    channel.queue_declare(name_of(settings), durable=True, auto_delete=False, arguments=arguments)


def _attempt(connection: Any, action: Any) -> bool:
    # A refusal closes the channel, so each attempt has one of its own.
    channel = connection.channel()
    try:
        action(channel)
    except ChannelError:
        return False
    channel.close()
    return True
