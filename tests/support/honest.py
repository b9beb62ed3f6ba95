"""An honest client beside an attack: a program that publishes events of a job, and watches it.

``python -m support.honest`` takes its settings from the environment and prints ``ready``. For each
number of seconds read from stdin it prints, as JSON, how long each event of that time took to come
(seconds), and how many did not come or came out of order.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from typing import Any

from bridge import Bridge
from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for

#: Seconds between two events, and for which the last is waited for.
INTERVAL, PATIENCE = 0.005, 20.0


class Honest:
    """Publishes under its own eyes.

    Args:
        bridge: whose server.
        job: id of the job.
    """

    def __init__(self, bridge: Bridge, job: str) -> None:
        self._settings = bridge.settings
        self._run = Run(job=job, task=job, name="support.honest", owner="victim")
        self._came: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
        self._number = 0
        self._put("started", total=1)
        emitter_for(self._settings).flush(5)
        client = SocketClient()
        client.on("job", self._take, namespace=NAMESPACE)
        token = bridge.token(jobs=[job], ttl=3600)
        options = {"namespaces": [NAMESPACE], "transports": ["websocket"], "wait_timeout": 20}
        client.connect(bridge.settings.server_url, auth={"token": token}, **options)
        assert client.call("watch", {"job": job}, namespace=NAMESPACE)["ok"]

    def _put(self, kind: str, **data: Any) -> None:
        emitter_for(self._settings).put(self._run, kind, data)

    def _take(self, event: dict[str, Any]) -> None:
        if "number" in event["data"]:
            self._came.put((event["data"]["number"], time.time() - event["data"]["at"]))

    def measure(self, seconds: float) -> dict[str, Any]:
        """Return what came, how fast, and what did not."""
        first, deadline = self._number, time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._put("log", number=self._number, at=time.time(), lines=[])
            self._number += 1
            time.sleep(INTERVAL)
        came = self._receive(self._number - first)
        numbers = [number for number, _ in came]
        return {
            "latencies": [latency for _, latency in came],
            "lost": self._number - first - len(set(numbers)),
            "disordered": numbers != sorted(numbers),
        }

    def _receive(self, count: int) -> list[tuple[int, float]]:
        came: list[tuple[int, float]] = []
        deadline = time.monotonic() + PATIENCE
        while len(came) < count and (left := deadline - time.monotonic()) > 0:
            try:
                came.append(self._came.get(timeout=left))
            except queue.Empty:
                break
        return came


def main() -> None:
    """Measure as often as it is asked to."""
    honest = Honest(Bridge(), sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(honest.measure(float(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
