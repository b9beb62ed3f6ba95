"""Shards: jobs are divided among servers by owner, so that each server reads only its part.

The events of a shard are published on its own channel, which only servers of that shard read.
"""

from __future__ import annotations

import uuid
from zlib import crc32

from bridge.settings import Settings

__all__ = ["channel_of", "job_id", "served_by", "shard_of"]


def shard_of(key: str, shards: int) -> int:
    """Return the shard of an owner, or of a job without an owner.

    Args:
        key: owner, or id of a job without one.
        shards: number of shards.
    """
    return crc32(key.encode()) % shards


def channel_of(settings: Settings, shard: int) -> str:
    """Return the name of a shard's channel."""
    return settings.channel if settings.shards == 1 else f"{settings.channel}.{shard}"


def served_by(settings: Settings) -> Settings:
    """Return a server's settings with the channel of its shard as the only channel."""
    return settings.replace(channel=channel_of(settings, settings.shard), shards=1, shard=0)


def job_id(owner: str | None, shards: int, wanted: str | None = None) -> str:
    """Return the id of a new job, whose own shard is that of the owner.

    So a client that knows only the job's id finds the job's shard.

    Args:
        owner: owner of the job; None for none.
        shards: number of shards.
        wanted: id to return if its shard fits; otherwise, and by default, a random UUID.
    """
    while True:
        job, wanted = wanted or str(uuid.uuid4()), None
        if owner is None or shard_of(job, shards) == shard_of(owner, shards):
            return job
