"""Running jobs again, and cancelling them: one, or all that a filter finds.

In: requests of clients. Out: jobs that are published again, each once for an asking, and refusals
with reasons. Imports the archive's calls, the search for jobs, and the limits.
"""
