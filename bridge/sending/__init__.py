"""From reports to the broker: one outbox and one sender thread in each process.

In: events, lines and pushes. Out: messages to the write-only manager of ``bus``, bounded in memory
and time. Imports ``reporting``, ``bus`` and what they import.
"""
