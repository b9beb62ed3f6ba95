"""Connections to brokers, and what is published over them.

In: Socket.IO messages of services and tasks, and Celery's messages. Out: the broker. Here are the
write-only manager, RabbitMQ's stream, the embedded broker, publisher confirms, TLS and shards, and
which broker events go to, with an application's own.
Imports ``settings``, ``protocol`` and the modules beside the folders.
"""
