"""Webhooks: the archive delivers the ends of jobs to endpoints, at least once, signed and retried.

A job's end is queued in the transaction that writes it; a thread of its own delivers what is due,
in bounded time and number, and never delays what the archive reads.
"""
