"""Make the secrets that compose.yaml mounts, each in a file of its own. What is there stays.

``python3 make_secrets.py`` beside compose.yaml; needs nothing but Python, and openssl for the
certificate, which is signed by nobody: put your own into secrets/tls_certificate.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

HERE = Path(__file__).parent
#: Users of RabbitMQ; what each may do is in rabbitmq/definitions.py.
USERS = ("operator", "server", "worker", "service", "flower", "archive")
#: Those that read or write events.
REPORTERS = ("server", "worker", "service")
#: Users of PostgreSQL; what each may do is in postgresql/roles.py.
RESULTS = ("worker", "server", "service")
#: Those that write and read the archive.
ARCHIVE = ("archive", "server")
NODES = ("rabbitmq-1:5672", "rabbitmq-2:5672", "rabbitmq-3:5672")
#: What HAProxy has for services on its host, outside of compose (haproxy/services/).
HOST_RABBITMQ, HOST_POSTGRESQL = "localhost:8672", "localhost:8432"
DAYS = "825"


def passwords(folder: Path) -> dict[str, str]:
    """Return the secrets that are random, those that are there as they are."""
    names = (*USERS, "taskbridge_secret", "erlang_cookie", "postgresql", "grafana", "flower_login")
    names += tuple(f"postgresql_{user}" for user in dict.fromkeys((*RESULTS, *ARCHIVE)))
    found = {}
    for name in names:
        fresh = secrets.token_urlsafe(36)
        found[name] = _keep(folder / name, f"operator:{fresh}" if name == "flower_login" else fresh)
    return found


def urls(known: dict[str, str], options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield names and texts of the URLs that have those passwords in them."""
    for number, user in enumerate((*REPORTERS, "flower")):
        nodes = options.rabbitmq
        # Each begins with another node, so that not all are on the first.
        first = number % len(nodes)
        order = nodes[first:] + nodes[:first]
        for vhost, kind in (("tasks", "broker"), ("events", "events")):
            if kind == "broker" or user in REPORTERS:
                each = [f"amqp://{user}:{known[user]}@{node}/{vhost}" for node in order]
                yield f"{user}_{kind}_url", ";".join(each)
    for vhost, kind in (("tasks", "broker"), ("events", "events")):
        url = f"amqp://service:{known['service']}@{HOST_RABBITMQ}/{vhost}"
        yield f"host_service_{kind}_url", url
    node = options.rabbitmq[0]
    yield "operator_events_url", f"amqp://operator:{known['operator']}@{node}/events"
    logins = {user: f"{user}:{known[f'postgresql_{user}']}" for user in RESULTS}
    logins["operator"] = f"taskbridge:{known['postgresql']}"  # PostgreSQL's superuser
    for user, login in logins.items():
        url = f"db+postgresql+psycopg://{login}@{options.postgresql}/taskbridge"
        yield f"{user}_result_url", url
    login = f"{logins['service']}@{HOST_POSTGRESQL}"
    yield "host_service_result_url", f"db+postgresql+psycopg://{login}/taskbridge"
    for user in ARCHIVE:
        login = f"{user}:{known[f'postgresql_{user}']}"
        url = f"postgresql+psycopg://{login}@{options.postgresql}/taskbridge"
        yield f"{user}_archive_url", url
    each = [f"amqp://archive:{known['archive']}@{node}/events" for node in options.rabbitmq]
    yield "archive_events_url", ";".join(each)
    management = options.rabbitmq[0].partition(":")[0]
    broker_api = f"http://flower:{known['flower']}@{management}:15672"
    yield "flower_broker_api", f"{broker_api}/api/"
    yield "scaler_broker_api", f"{broker_api}/tasks"  # KEDA's: with the virtual host


def certificate(folder: Path, hosts: list[str]) -> None:
    """Make a certificate and its key in one file, as HAProxy wants them, if there is none."""
    alternatives = ",".join(("IP:" if _is_address(one) else "DNS:") + one for one in hosts)
    file, key = folder / "tls_certificate", folder / "tls_key"
    if file.exists():
        return
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS]
    names = ["-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={alternatives}"]
    output = ["-keyout", str(key), "-out", str(file)]
    subprocess.run([*made, *names, *output], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    key.unlink()
    file.chmod(0o644)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _keep(file: Path, text: str) -> str:
    """Return what is in a file; write it first, if it is not there."""
    if not file.exists():
        file.write_text(text)
        # Whoever a container runs as must be able to read it; nobody else gets into the folder.
        file.chmod(0o644)
    return file.read_text().strip()


def main() -> int:
    """Make them.

    Returns:
        Exit status: 0, or 1 if the certificate cannot be made.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "secrets")
    parser.add_argument("--rabbitmq", nargs="+", default=list(NODES), metavar="HOST:PORT")
    parser.add_argument("--postgresql", default="postgresql:5432", metavar="HOST:PORT")
    names = "names and addresses in the certificate"
    parser.add_argument("--host", nargs="+", default=["localhost", "127.0.0.1"], help=names)
    options = parser.parse_args()
    options.folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in urls(passwords(options.folder), options):
        _keep(options.folder / name, text)
    try:
        certificate(options.folder, options.host)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(
            f"openssl made no certificate ({error}): put one, with its key, into "
            f"{options.folder / 'tls_certificate'}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
