"""From the broker into the server, and from the server to rooms of clients.

In: messages of RabbitMQ's stream, a queue or Redis. Out: checked events with their offsets, and
packets to clients. Imports ``connection``, ``journal`` and what they import.
"""
