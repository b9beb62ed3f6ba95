"""One client's connection: a Socket.IO server that bears hostile clients.

In: HTTP requests and WebSocket frames. Out: packets, through a bounded send queue, straight to the
socket where the server runs on eventlet. Imports ``limits``, ``messages`` and what they import.
"""
