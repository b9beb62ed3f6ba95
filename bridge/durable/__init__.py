"""What makes the tasks of an application survive: confirms, retries, redelivery, stored results.

In: messages and results of Celery's worker. Out: the same, once. ``installation`` chooses the
parts, and says which cannot hold with the application's settings. A service that installs them
changes nothing but the defaults of its tasks: the rest is for workers. Imports ``bus``,
``results``, ``client`` and ``instrumentation``.
"""
