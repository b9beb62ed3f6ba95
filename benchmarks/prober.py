"""Asks a server over and over whether it is well, until stdin ends; prints p99 in milliseconds."""

from __future__ import annotations

import http.client
import statistics
import sys
import threading
import time

#: Seconds between two questions.
PAUSE = 0.01


def main() -> None:
    """Ask: ``prober.py PORT PATH``."""
    port, path = int(sys.argv[1]), sys.argv[2]
    over, took = threading.Event(), [0.0]
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not over.wait(PAUSE):
        begun = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        took.append(1000 * (time.perf_counter() - begun))
    print(statistics.quantiles(took, n=100)[98])


if __name__ == "__main__":
    main()
