"""The archive: what is known of jobs after the journal has forgotten them, in a database.

A process of its own, without eventlet, reads the bus and writes jobs, tasks and lines in batches.
Socket servers only read the database, to find jobs. No event ever waits for either.
"""
