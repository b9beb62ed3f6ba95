"""``Publisher``: publishes what an emitter sends, to the servers of the right shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bridge.bus.sharding import channel_of, shard_of
from bridge.protocol.event import NAMESPACE, Event, room_of_job
from bridge.protocol.json_types import JobEvent, JSONObject
from bridge.sending.emitter_counters import EmitterCounters
from bridge.sending.entries import Push
from bridge.sending.outbox import Outbox
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.bus.write_only_manager import Emission, WriteOnlyManager

__all__ = ["Publisher"]


class Publisher:
    """Publishes events, some of them with the counters of their process.

    Args:
        settings: broker, channel and number of shards.
        outbox: send queue, whose losses are told with the counters.
    """

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        # Imported late, since it is slow, but on this thread: while a process exits, the sender
        # thread could not import it any more.
        import bridge.bus.write_only_manager  # noqa: F401

        self._settings, self._outbox = settings, outbox
        #: The counters of this process.
        self.counters = EmitterCounters()
        self._writers: dict[str, WriteOnlyManager] = {}

    def publish(self, entries: Sequence[Event | Push]) -> None:
        """Publish entries in their order, and return when the broker has confirmed all of them.

        Raises:
            TypeError, ValueError: an entry is not JSON.
            OSError: the broker is away; its libraries raise other errors, too. Some of the entries
                may have been published.
        """
        told: list[JSONObject] = []
        waiting: dict[int, list[Emission]] = {}
        for entry in entries:
            for shard, emission in self._emissions(entry, told):
                waiting.setdefault(shard, []).append(emission)
        for shard, emissions in waiting.items():
            self._writer(shard).emit_all(emissions)
        for counters in told:
            self.counters.note_told(counters)
        self.counters.published += len(entries)

    def _emissions(
        self, entry: Event | Push, told: list[JSONObject]
    ) -> Iterator[tuple[int, Emission]]:
        """Yield the messages of an entry, with the shards of their servers."""
        from bridge.bus.write_only_manager import Emission

        if isinstance(entry, Event):
            shard = shard_of(entry.owner or entry.job, self._settings.shards)
            yield (
                shard,
                Emission("job", self._message(entry, told), NAMESPACE, room_of_job(entry.job)),
            )
            return
        # Clients in a room may be connected to servers of any shard, unless it is an owner's room.
        shards: Iterable[int] = range(self._settings.shards)
        emission = Emission(*entry[:4], entry.skip, entry.id or None)
        for shard in shards if entry.shard is None else [entry.shard]:
            yield shard, emission

    def _message(self, event: Event, told: list[JSONObject]) -> JobEvent:
        """Return an event as it travels; counters that it carries are added to ``told``."""
        message = event.encode()
        counts, held = self._outbox.losses.counts(), self._outbox.held
        # With each `started`, so that servers know the worker of each task.
        always = event.type == "started"
        if told and not always:
            return message
        if counters := self.counters.due(counts, held, always=always):
            message["data"] = {**message["data"], "emitter": counters}
            told.append(counters)
        return message

    def _writer(self, shard: int) -> WriteOnlyManager:
        channel = channel_of(self._settings, shard)
        if channel not in self._writers:
            from bridge.bus.write_only_manager import new_write_only_manager

            self._writers[channel] = new_write_only_manager(self._settings.replace(channel=channel))
        return self._writers[channel]

    def close(self) -> None:
        """Close its connections."""
        for writer in self._writers.values():
            writer.close()
