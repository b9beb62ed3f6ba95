"""What a service and a client program use: ``Bridge``, the watcher, and status without watching.

In: calls of a service. Out: messages to the broker of tasks, requests to a server, events to the
caller. Imports every folder of this package but ``cli`` and ``testing``.
"""
