"""A client with every scope that asks for what it should not get."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE, TERMINAL
from support.wait import until

__all__ = ["Stranger", "attempts"]


class Stranger:
    """A plain Socket.IO client.

    Args:
        url: of a server.
        token: with every scope.
    """

    def __init__(self, url: str, token: str) -> None:
        self._client = SocketClient()
        options: dict[str, Any] = {"namespaces": [NAMESPACE], "transports": ["websocket"]}
        self._client.connect(url, auth={"token": token}, wait_timeout=20, **options)

    def enqueue(self, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Ask for a job; return the answer."""
        request = {"name": name, "kwargs": kwargs}
        return dict(self._client.call("enqueue", request, namespace=NAMESPACE, timeout=20))

    def outcome(self, name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Have a job done; return its last snapshot."""
        answer = self.enqueue(name, kwargs)
        assert answer["ok"], answer
        last: dict[str, Any] = {}

        def ended() -> bool:
            asked = {"job": answer["job"]}
            last.update(self._client.call("watch", asked, namespace=NAMESPACE)["snapshot"])
            return last["state"] in TERMINAL

        until(ended, 60, f"the end of {name}")
        return last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.shutdown()


def attempts(home: Path, outside: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return jobs that would mint tokens, read what is private, or reach another database.

    Args:
        home: TASKBRIDGE_HOME.
        outside: a folder that no setting names, with pictures and ``table.csv``.
    """
    table, key = str(outside / "table.csv"), str(home / "secret")
    results = f"sqlite:///{home}/results.sqlite"
    return [
        ("workers.jobs.checksum", {"path": str(home)}),
        ("workers.jobs.checksum", {"path": str(outside)}),
        ("workers.jobs.checksum", {"path": ".", "output": key}),
        ("workers.jobs.checksum", {"path": ".", "output": f"..{key}"}),
        ("workers.jobs.import_csv", {"path": key}),
        ("workers.jobs.import_csv", {"path": table}),
        ("workers.jobs.import_csv", {"path": table, "database": results}),
        ("workers.jobs.import_csv", {"path": table, "url": results, "if_exists": "replace"}),
        ("workers.jobs.import_csv", {"path": table, "database": "postgresql://a:b@127.0.0.1:1/c"}),
        ("workers.jobs.thumbnails", {"folder": str(outside), "output": str(home)}),
        ("workers.jobs.thumbnail", {"path": f"{outside}/a.png", "output": str(home), "size": 9}),
        ("workers.jobs.contact_sheet", {"names": [key], "output": str(home), "size": 9}),
    ]  # fmt: skip
