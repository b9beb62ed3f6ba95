"""Shards: the jobs divided among servers, by owner, so that what each reads stays flat.

Events of a shard travel on a channel of its own, which the servers of that shard alone listen to.
"""

from __future__ import annotations

import uuid
from zlib import crc32

from bridge.settings import Settings

__all__ = ["channel_of", "job_id", "served_by", "shard_of"]


def shard_of(key: str, shards: int) -> int:
    """Return the shard of an owner, or of a job that is nobody's.

    Args:
        key: the owner; else the job's id.
        shards: how many there are.
    """
    return crc32(key.encode()) % shards


def channel_of(settings: Settings, shard: int) -> str:
    """Return the name of a shard's channel."""
    return settings.channel if settings.shards == 1 else f"{settings.channel}.{shard}"


def served_by(settings: Settings) -> Settings:
    """Return a server's settings as if the channel of its shard were the only one."""
    return settings.replace(channel=channel_of(settings, settings.shard), shards=1, shard=0)


def job_id(owner: str | None, shards: int, wanted: str | None = None) -> str:
    """Return an id that has the owner's shard by itself.

    So who knows nothing of a job but its id knows where to ask for it.

    Args:
        owner: whose job it is.
        shards: how many there are.
        wanted: an id to take if it has that shard; default, and else, a new random one.
    """
    while True:
        job, wanted = wanted or str(uuid.uuid4()), None
        if owner is None or shard_of(job, shards) == shard_of(owner, shards):
            return job
