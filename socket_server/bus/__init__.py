"""From the broker into the server, and from the server to rooms of clients.

In: messages of RabbitMQ's stream, a queue or Redis. Out: checked events with their offsets, and
packets to clients. ``task_broker`` reads what the broker of tasks reports of queues and workers.
Imports ``connection``, ``journal`` and what they import.
"""
