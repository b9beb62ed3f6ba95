"""Plain HTTP: the page, a job's snapshot, health and metrics.

In: requests that the guard middleware let through. Out: answers. Imports every folder but
``delivery``.
"""
