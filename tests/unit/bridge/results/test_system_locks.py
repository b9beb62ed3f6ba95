"""Under eventlet, the thread that calls the result backend can log while greenlets do."""

from __future__ import annotations

import subprocess
import sys

#: Each line takes a millisecond, for which the thread that writes it holds the handler's lock and
#: other threads run.
PROGRAM = """
import eventlet
eventlet.monkey_patch()
import logging
from eventlet import patcher
from bridge.results.bounded_calls import BoundedCalls

class Slow(logging.Handler):
    lines = 0
    def emit(self, record):
        patcher.original("time").sleep(0.001)
        Slow.lines += 1

def log():
    for number in range(100):
        logging.getLogger("of a library").warning("line %s", number)
        eventlet.sleep(0)

logging.basicConfig(level=logging.INFO, handlers=[Slow()])
call = BoundedCalls().begin(log, within=60)
greenlets = [eventlet.spawn(log) for _ in range(3)]
with eventlet.Timeout(20):
    for one in greenlets:
        one.wait()
    call.wait()
print(Slow.lines)
"""


def test_a_greenlet_and_the_thread_that_log_at_once_both_go_on():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "400\n", done.stderr
    assert "different thread" not in done.stderr
