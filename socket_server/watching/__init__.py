"""The ``/jobs`` namespace: what clients may ask for, and who they are.

In: requests of clients, with their tokens. Out: answers, and joined rooms. Imports ``journal``,
``limits`` and what they import.
"""
