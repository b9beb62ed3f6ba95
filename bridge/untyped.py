"""Names for the types of libraries that have no type annotations.

A type checker takes each for ``Any``; a reader learns what an argument is. ``Any`` is used nowhere
else for an object of such a library.
"""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = [
    "AMQPChannel",
    "AMQPConnection",
    "AMQPMessage",
    "CeleryApp",
    "CeleryConsumer",
    "CeleryInspect",
    "CeleryPool",
    "CeleryRequest",
    "CeleryResult",
    "CeleryTask",
    "CeleryWorker",
    "ControlState",
    "EngineIOServer",
    "ExceptionInfo",
    "KombuConnection",
    "KombuConsumer",
    "KombuMessage",
    "KombuProducer",
    "ResultBackend",
    "Signature",
    "SocketIOServer",
    "TqdmBar",
    "WebSocket",
]

#: :class:`celery.Celery`
CeleryApp: TypeAlias = Any
#: ``celery.worker.consumer.Consumer``, by which a worker receives tasks
CeleryConsumer: TypeAlias = Any
#: ``celery.app.control.Inspect``
CeleryInspect: TypeAlias = Any
#: ``celery.concurrency.base.BasePool``
CeleryPool: TypeAlias = Any
#: :class:`celery.Task`
CeleryTask: TypeAlias = Any
#: ``celery.app.task.Context`` in a pool process, ``celery.worker.request.Request`` in the parent
CeleryRequest: TypeAlias = Any
#: :class:`celery.result.AsyncResult`, or ``EagerResult`` of a task that ran at once
CeleryResult: TypeAlias = Any
#: ``celery.apps.worker.Worker``, or a component of it
CeleryWorker: TypeAlias = Any
#: State of a worker's remote control: its ``app``, ``consumer`` and ``hostname``
ControlState: TypeAlias = Any
#: ``billiard.einfo.ExceptionInfo``: an exception with its traceback
ExceptionInfo: TypeAlias = Any
#: :class:`celery.canvas.Signature`, which groups, chains and chords are too
Signature: TypeAlias = Any
#: ``celery.backends.base.Backend``
ResultBackend: TypeAlias = Any
#: :class:`kombu.Connection`
KombuConnection: TypeAlias = Any
#: :class:`kombu.Consumer`
KombuConsumer: TypeAlias = Any
#: :class:`kombu.Producer`
KombuProducer: TypeAlias = Any
#: ``kombu.message.Message``
KombuMessage: TypeAlias = Any
#: ``amqp.Connection``
AMQPConnection: TypeAlias = Any
#: ``amqp.basic_message.Message``
AMQPMessage: TypeAlias = Any
#: ``amqp.Channel``
AMQPChannel: TypeAlias = Any
#: :class:`engineio.Server`
EngineIOServer: TypeAlias = Any
#: ``socket_server.concurrency.websocket.WebSocket``, or python-engineio's of simple-websocket
WebSocket: TypeAlias = Any
#: :class:`socketio.Server`
SocketIOServer: TypeAlias = Any
#: :class:`tqdm.tqdm`
TqdmBar: TypeAlias = Any
