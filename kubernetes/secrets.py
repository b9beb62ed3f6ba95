"""Print the Secrets of the manifests, made of the files that compose/make_secrets.py has written.

``python3 kubernetes/secrets.py secrets | kubectl apply --namespace taskbridge --filename -``; the
argument is the folder of the files. Each program gets those alone that it needs.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

SECRETS = {
    "taskbridge-server": [
        "taskbridge_secret",
        "server_result_url",
        "server_archive_url",
        "server_broker_url",
        "server_events_url",
    ],
    "taskbridge-worker": ["worker_result_url", "worker_broker_url", "worker_events_url"],
    "taskbridge-archive": ["archive_archive_url", "archive_events_url"],
    "taskbridge-scaler": ["scaler_broker_api"],
    "taskbridge-setup": [
        "operator_events_url",
        "operator_result_url",
        "postgresql_worker",
        "postgresql_server",
        "postgresql_service",
        "postgresql_archive",
    ],
}


def secret(name: str, folder: Path) -> dict[str, object]:
    """Return one Secret."""
    data = {file: base64.b64encode((folder / file).read_bytes()).decode() for file in SECRETS[name]}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def main() -> None:
    """Print them, or exit with 2 and a sentence."""
    try:
        [folder] = sys.argv[1:]
        items = [secret(name, Path(folder)) for name in SECRETS]
    except (ValueError, OSError) as error:
        sys.stderr.write(f"secrets.py: name the folder that make_secrets.py made: {error}\n")
        sys.exit(2)
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout)


if __name__ == "__main__":
    main()
