"""Celery's signals become events: publishing, running, retrying and ending of tasks.

In: signals of a service's or a worker's Celery application. Out: reports to the emitter, and what
Flower and ``AsyncResult.info`` show. Imports ``capture``, ``cancelling`` and what they import.
"""
