"""What of the server depends on eventlet, gevent or threads: only modules here import either.

The HTTP servers on eventlet and on gevent, the WebSocket of both, patching of the standard
library, the state lock, and pacing of work that takes long. Whatever a server knows is read and
changed while the lock is held. Imports no other folder.
"""
