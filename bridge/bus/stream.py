"""The RabbitMQ stream that keeps the messages published on a channel.

Emitters and servers declare the same stream, so messages that were published while no server
listened are kept for the servers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from amqp.exceptions import AccessRefused, ChannelError
from kombu import Exchange

from bridge.settings import Settings
from bridge.untyped import AMQPChannel, KombuConnection

__all__ = ["StreamAway", "arguments", "declare", "is_amqp", "name_of"]

#: Bytes of one file of the stream; RabbitMQ removes only whole files, and its default of 500 MB
#: would make any limit of age or size a coarse one.
SEGMENT_BYTES = 16 * 1024 * 1024


def is_amqp(url: str) -> bool:
    """Whether a broker speaks AMQP, and so may have streams."""
    return url.startswith(("amqp:", "amqps:", "pyamqp:"))


def name_of(channel: str) -> str:
    """Return the name of a channel's stream."""
    return f"{channel}.stream"


class StreamAway(ConnectionError):
    """The stream should exist, but cannot be written to now: its node may not be up yet."""


def declare(connection: KombuConnection, exchange: Exchange, settings: Settings) -> bool:
    """Declare the channel's exchange and stream, and bind them.

    An existing exchange or stream stays as it was declared, and an account that may not declare
    them uses those that the operator declared.

    Returns:
        Whether there is a stream.

    Raises:
        StreamAway: the stream exists, but cannot be written to now.
        amqp.ConnectionError, OSError: the broker cannot be reached.
    """
    _attempt(connection, lambda channel: exchange(channel).declare())
    name, told = name_of(settings.channel), arguments(settings)
    there = _attempt(
        connection,
        lambda channel: channel.queue_declare(
            name, durable=True, auto_delete=False, arguments=told
        ),
    ) or _attempt(connection, lambda channel: _look_for(channel, name))
    if there:
        _attempt(connection, lambda channel: channel.queue_bind(name, exchange.name))
    return there


def _look_for(channel: AMQPChannel, name: str) -> None:
    """Raise if there is no stream; one that the account may not look for counts as there.

    From RabbitMQ 4.2.6 on, an account without any right to a queue may not ask whether it exists.
    """
    with suppress(AccessRefused):
        channel.queue_declare(name, passive=True)


def arguments(settings: Settings) -> dict[str, str | int]:
    """Return the arguments with which the stream is declared."""
    return {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, int(settings.replay))}s",
        "x-max-length-bytes": settings.stream_bytes,
        # At least four files, so that the removal of the oldest leaves recent messages.
        "x-stream-max-segment-size-bytes": max(1, min(SEGMENT_BYTES, settings.stream_bytes // 4)),
    }


def _attempt(connection: KombuConnection, action: Callable[[AMQPChannel], object]) -> bool:
    """Run an action on a new channel, since a refusal closes it; return whether it succeeded."""
    channel = connection.channel()
    try:
        action(channel)
    except ChannelError as error:
        if "inaccessible" in str(error):
            raise StreamAway(str(error)) from error
        return False
    channel.close()
    return True
