"""What reaches past the public ways of python-engineio, eventlet and py-amqp, for speed.

All of it is here. ``TASKBRIDGE_FAST_PATH=0`` goes without, and ``tests/unit/test_fast_path.py``
fails where what it reaches into has moved.
"""
