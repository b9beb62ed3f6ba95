"""Reading and writing Celery's result backends, with a bound on every wait.

In: ids of tasks. Out: stored results as plain data, without unpickling. Imports only modules beside
the folders.
"""
