"""``Bridge`` in asyncio programs: watches that share connections, and calls in threads.

In: watches and calls of coroutines. Out: requests to a server on python-socketio's ``AsyncClient``,
events to the caller. Only ``connection`` and ``socket_client`` import aiohttp and python-socketio,
whose import would hold up an event loop: ``watcher`` imports them in a thread.
"""
