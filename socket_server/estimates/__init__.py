"""How long a job may have to wait, and how long it may take.

In: changes of the journal, and lengths of queues. Out: ``estimate`` events. Imports ``journal`` and
what it imports.
"""
