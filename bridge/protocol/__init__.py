"""What travels between workers, servers and clients, and how it is folded; pure, without I/O.

In: JSON objects. Out: events, and snapshots of jobs with the states of their tasks. Imports only
modules beside the folders.
"""
