"""Asks a server now and then whether it is well, until stdin ends; prints the slowest in ms."""

from __future__ import annotations

import http.client
import sys
import threading
import time

#: Seconds between two questions: few, since what they cost the server counts as its deliveries'.
PAUSE = 0.5


def main() -> None:
    """Ask: ``prober.py PORT PATH``."""
    port, path = int(sys.argv[1]), sys.argv[2]
    over, slowest = threading.Event(), 0.0
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not over.wait(PAUSE):
        begun = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        slowest = max(slowest, 1000 * (time.perf_counter() - begun))
    print(slowest)


if __name__ == "__main__":
    main()
