"""How a cancel reaches a job's tasks.

In: a cancel from a service or a server. Out: a broadcast to workers, a flag in their shared memory
or in the result backend, and the end of the task. Imports ``sending``, ``results`` and what they
import.
"""
