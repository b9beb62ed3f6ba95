"""What a server knows of all jobs: in memory, bounded, pure.

In: events with their offsets. Out: changes, views for clients that come or come back, pages of
jobs. Imports ``messages`` and what it imports.
"""
