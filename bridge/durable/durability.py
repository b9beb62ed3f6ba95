"""``Durability``: which of the parts that make tasks survive an application has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Durability"]


@dataclass(frozen=True, slots=True)
class Durability:
    """The parts, each of which is there unless it is switched off.

    Celery's settings that a part needs are defaults: the application's own settings win, and the
    worker logs at its start which part cannot hold with them.
    """

    #: Tasks are acknowledged at their end, so that another worker runs what a dead one had taken.
    late_acknowledgement: bool = True
    #: A task whose pool process died is tried again, as often as its ``max_retries`` allow.
    lost_processes: bool = True
    #: A message that the broker delivers again, after a lost connection, runs once.
    redelivery: bool = True
    #: What a task publishes (retries, later tasks of a canvas) is confirmed by RabbitMQ before the
    #: task is acknowledged.
    confirms: bool = True
    #: Results are stored again while the backend is away; a fork does not lock SQLite results.
    results: bool = True
    #: A worker that is stopped ends, or hands back, its tasks within the grace
    #: (``TASKBRIDGE_STOP_GRACE``).
    shutdown: bool = True
