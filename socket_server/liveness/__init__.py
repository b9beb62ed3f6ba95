"""Whether a task that is silent still runs.

The watchdog measures how long running tasks are silent, without the time in which the server itself
stood still; ``event_path`` proves by probes that events could have come. Of silent tasks, verdicts
asks the result backend, and ``worker_inquiry`` the worker. ``missing_ends`` looks up tasks of quiet
jobs whose ends may never have been sent, ``presumptions`` ends that a verdict presumed,
``gone_messages`` the messages of tasks that wait for long.
``supervision`` does all of it once a second.

In: changes of the journal, the time, answers of workers and of the result backend. Out: verdicts
(``stalled``, ``lost``, ends from stored results) and disturbances. Imports ``bus``, ``journal`` and
what they import.
"""
