"""One client's connection: a Socket.IO server that bears hostile clients.

In: HTTP requests and WebSocket frames. Out: packets, through a bounded send queue, straight to the
socket under ``taskbridge serve``. Imports ``limits``, ``messages`` and what they import.
"""
