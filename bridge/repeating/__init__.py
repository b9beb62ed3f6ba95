"""What keeps a job from being enqueued twice, and what lets it be enqueued again.

In: idempotency keys of services and clients, and the calls of tasks. Out: reservations of keys in a
result backend, and the part of a call that the archive keeps. Imports ``bus``, ``checkpoints``,
``results`` and ``settings``.
"""
