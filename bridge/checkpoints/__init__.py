"""Checkpoints: what an attempt of a task stores, and the next attempt goes on from.

In: a task's state as JSON. Out: the state in a result backend, behind a fence, and when it was
stored. Imports ``bus``, ``results`` and ``settings``.
"""
