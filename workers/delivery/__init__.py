"""What makes a task of the shipped worker survive: confirms, retries, redelivery, stored results.

In: messages and results of Celery's worker. Out: the same, once. Imports ``bridge``.
"""
