"""Whether a task that is silent still runs.

In: changes of the journal, the time, answers of workers and of the result backend. Out: verdicts
(``stalled``, ``lost``, ends from stored results) and disturbances. Imports ``bus``, ``journal`` and
what they import.
"""
