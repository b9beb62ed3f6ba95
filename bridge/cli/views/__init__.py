"""What ``taskbridge watch`` shows of a job's steps, as rows at a terminal and as lines.

In: the states of tasks. Out: rows and lines of text. Imports ``protocol`` and ``cli.format``.
"""
