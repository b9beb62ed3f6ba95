"""The state lock, and pacing of work that takes long.

Whatever a server knows is read and changed while the lock is held, on eventlet, gevent and threads.
Imports no other folder.
"""
