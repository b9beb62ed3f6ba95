"""Makes billiard's processes hold the lock of their shared queue for a while after each message.

Loaded by a worker of the tests through TASKBRIDGE_INCLUDE.
"""

from __future__ import annotations

import time
from typing import Any

from billiard.queues import SimpleQueue

#: Seconds.
HELD = 0.3


def send_payload(self: Any, value: bytes) -> None:
    """Send a message, and hold the lock."""
    with self._wlock:
        self._writer.send_bytes(value)
        end = time.monotonic() + HELD
        while time.monotonic() < end:
            time.sleep(0.01)


SimpleQueue.send_payload = send_payload
