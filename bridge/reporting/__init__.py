"""What a task reports: bars, log lines, output and meta of one run.

In: calls of a task's code. Out: samples, lines and events to a ``Reporter``. Imports ``protocol``.
"""
