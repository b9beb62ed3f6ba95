"""The files of the production shape: each is one that the program which reads it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import kombu
import pytest
import yaml

from bridge import Settings
from support.ports import free_port
from support.process import ROOT, Process
from support.tools import need
from support.topology import COMPOSE
from support.wait import until

SECRETS = COMPOSE / "make_secrets.py"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """A folder with all secrets."""
    folder = tmp_path_factory.mktemp("production") / "secrets"
    subprocess.run([sys.executable, SECRETS, "--folder", folder], check=True, timeout=60)
    return folder


def run(*command, **variables):
    """Run a program that checks a file; return what it printed if it did not like it."""
    done = subprocess.run(
        [need(command[0]), *command[1:]],
        cwd=COMPOSE,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


SHAPES = pytest.mark.parametrize("file", ["compose.yaml", "compose.single.yaml"])


@SHAPES
def test_the_compose_files_are_sound(file):
    files = ["-f", file, "--env-file", ".env.example"]
    assert run("docker-compose", *files, "config", "--quiet") == ""


@SHAPES
def test_clients_may_enqueue_nothing_and_jobs_reach_nothing_unless_the_operator_says_so(file):
    text = (COMPOSE / file).read_text() + (COMPOSE / ".env.example").read_text()
    for name in ("TASKS", "INPUT_ROOTS", "OUTPUT_ROOT"):
        assert f"TASKBRIDGE_{name}: ${{TASKBRIDGE_{name}:-}}\n" in text
        assert f"\nTASKBRIDGE_{name}=\n" in text
    assert "workers.jobs" not in text


def configured(file, **variables):
    """Return the services as compose reads them, with variables of the environment."""
    command = [need("docker-compose"), "-f", file, "--env-file", ".env.example", "config"]
    env = {**os.environ, **variables}
    told = subprocess.check_output(command, cwd=COMPOSE, env=env, text=True, timeout=60)
    return yaml.safe_load(told)["services"]


@SHAPES
def test_the_operator_says_which_origins_limits_and_ports(file):
    services = configured(
        file,
        TASKBRIDGE_URL="https://jobs.example.com",
        TASKBRIDGE_ORIGINS="https://shop.example.com",
        WORKER_CPUS="1.5",
    )
    origins = services["server-1"]["environment"]["TASKBRIDGE_ORIGINS"]
    assert Settings.from_environ({"TASKBRIDGE_ORIGINS": origins}).origins == (
        *("https://jobs.example.com", "https://shop.example.com"),
    )
    assert float(services["worker-1"]["cpus"]) == 1.5
    alone = configured(file)["server-1"]["environment"]["TASKBRIDGE_ORIGINS"]
    assert Settings.from_environ({"TASKBRIDGE_ORIGINS": alone}).origins == (
        "https://localhost:8443",
    )


@SHAPES
def test_no_service_fills_the_memory_or_the_disk_of_its_host(file):
    for name, service in configured(file).items():
        assert service["mem_limit"], name
        assert service["logging"]["driver"] == "json-file", name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


def published(file):
    """Return the ports of each service that has some, where no variable is set."""
    services = yaml.safe_load((COMPOSE / file).read_text())["services"]
    return {
        name: [re.sub(r"\$\{\w+:-(\d+)\}", r"\1", port) for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }


@SHAPES
def test_only_the_balancer_s_web_ports_are_open_to_other_hosts(file):
    for name, ports in published(file).items():
        for port in ports:
            web = name == "haproxy" and port.endswith((":8443", ":8080"))
            assert web or port.startswith("127.0.0.1:"), (name, port)


def test_a_service_of_this_host_has_urls_with_the_balancer_s_ports(secrets):
    login = (secrets / "service").read_text()
    for kind, end in (("broker", "tasks"), ("events", "events")):
        url = (secrets / f"host_service_{kind}_url").read_text()
        assert url == f"amqp://service:{login}@localhost:8672/{end}"
    result = (secrets / "host_service_result_url").read_text()
    assert result.endswith("@localhost:8432/taskbridge")
    for file in ("compose.yaml", "compose.single.yaml"):
        ports = published(file)["haproxy"]
        assert {"127.0.0.1:8672:5672", "127.0.0.1:8432:5432"} <= set(ports)


def test_a_service_of_this_host_reaches_a_node_that_answers_by_the_balancer(
    secrets, rabbitmq, tmp_path
):
    names = ("AMQP", "POSTGRESQL", "HTTPS", "HTTP", "STATS")
    at = {name: f"127.0.0.1:{free_port()}" for name in names}
    node = urlsplit(rabbitmq.new_vhost())
    nowhere = f"127.0.0.1:{free_port()}"
    at |= {"RABBITMQ_1": nowhere, "RABBITMQ_2": node.netloc.rpartition("@")[2]}
    at |= {"RABBITMQ_3": nowhere, "MAX_CONNECTIONS": "100"}
    env = {**os.environ, **at, "TLS_CERTIFICATE": str(secrets / "tls_certificate")}
    files = ("haproxy.cfg", "backends/1-shard.cfg", "services/3-nodes.cfg")
    options = [part for file in files for part in ("-f", COMPOSE / "haproxy" / file)]
    url = node._replace(netloc=node.netloc.replace(at["RABBITMQ_2"], at["AMQP"])).geturl()
    with (
        Process([need("haproxy"), "-db", *options], tmp_path / "log", env),
        until(lambda: connected(url), 30, "a connection through the balancer") as connection,
    ):
        assert connection.default_channel.queue_declare("", exclusive=True).queue


def connected(url):
    """Return a connection to a broker, or None while there is none."""
    connection = kombu.Connection(url, connect_timeout=2)
    try:
        return connection.connect() and connection
    except OSError:
        connection.release()
        return None


def test_prometheus_tells_the_alertmanager_whose_file_is_sound():
    [target] = yaml.safe_load((COMPOSE / "prometheus/targets/alertmanager.yml").read_text())
    assert target["targets"] == ["alertmanager:9093"]
    assert published("compose.yaml")["alertmanager"] == ["127.0.0.1:9093:9093"]
    assert run("amtool", "check-config", "alertmanager/alertmanager.yml") == ""
    # Of alerts that exist alone can one be left out beside another.
    rules = yaml.safe_load((COMPOSE / "prometheus/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    shape = yaml.safe_load((COMPOSE / "alertmanager/alertmanager.yml").read_text())
    for rule in shape["inhibit_rules"]:
        text = " ".join([*rule["source_matchers"], *rule["target_matchers"]])
        assert set(re.findall(r"[A-Z]\w+", text)) <= alerts


def test_the_rules_pass_their_own_tests():
    assert run("promtool", "check", "config", "prometheus/prometheus.yml") == ""
    assert run("promtool", "test", "rules", "prometheus/alerts.test.yml") == ""


@pytest.mark.parametrize(
    "part",
    sorted(f"{one.parent.name}/{one.name}" for one in (COMPOSE / "haproxy").glob("*/*.cfg")),
)
def test_the_balancer_takes_each_of_its_files(secrets, part):
    files = ["-f", "haproxy/haproxy.cfg", "-f", f"haproxy/{part}"]
    if "backends" not in part:
        files += ["-f", "haproxy/backends/1-shard.cfg"]
    certificate = str(secrets / "tls_certificate")
    limits = {"MAX_CONNECTIONS": "1000", "SERVER_1": "127.0.0.1:1", "SERVER_2": "127.0.0.1:2"}
    assert run("haproxy", "-c", *files, TLS_CERTIFICATE=certificate, **limits) == ""


@SHAPES
def test_every_file_that_is_mounted_is_there_and_every_secret_is_made(secrets, file):
    shape = yaml.safe_load((COMPOSE / file).read_text())
    for service in shape["services"].values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (COMPOSE / volume.split(":")[0]).exists(), volume
    made = {file.name for file in secrets.iterdir()}
    assert {one["file"].removeprefix("secrets/") for one in shape["secrets"].values()} <= made


#: What each service of ours is given; what RabbitMQ, Grafana and so on get is their own.
GIVEN = {
    "definitions": {"operator", "worker", "server", "service", "flower", "archive"},
    "stream": {"operator_events_url"},
    "results": {
        "operator_result_url",
        "postgresql_worker",
        "postgresql_server",
        "postgresql_service",
        "postgresql_archive",
    },
    "server": {
        "taskbridge_secret",
        "server_result_url",
        "server_archive_url",
        "server_broker_url",
        "server_events_url",
    },
    "archive": {"archive_archive_url", "archive_events_url"},
    "worker": {"worker_result_url", "worker_broker_url", "worker_events_url"},
    "flower": {"flower_broker_url", "flower_broker_api", "flower_login"},
    "rabbitmq": {"erlang_cookie"},
    "postgresql": {"postgresql"},
    "haproxy": {"tls_certificate"},
    "grafana": {"grafana"},
    "prometheus": set(),
    "alertmanager": set(),
}


@SHAPES
def test_each_service_has_the_secrets_that_it_needs_and_no_other(file):
    shape = yaml.safe_load((COMPOSE / file).read_text())
    for name, service in shape["services"].items():
        kind = name.rstrip("-0123456789")
        given = set(service.get("secrets", ()))
        alone = kind == "rabbitmq" and "single" in file  # a node alone has no cookie to share
        assert given == (set() if alone else GIVEN[kind]), name
        named = {
            value.removeprefix("/run/secrets/")
            for variable, value in service.get("environment", {}).items()
            if variable.startswith("TASKBRIDGE_") and str(value).startswith("/run/secrets/")
        }
        if kind in ("server", "worker", "flower", "archive"):
            assert named == given, name
    mounted = {one for service in shape["services"].values() for one in service.get("secrets", ())}
    assert mounted == set(shape["secrets"])


@SHAPES
def test_the_key_is_with_servers_alone_and_no_service_logs_in_as_superuser(file, secrets):
    shape = yaml.safe_load((COMPOSE / file).read_text())
    holders = {
        name.rstrip("-0123456789")
        for name, service in shape["services"].items()
        if "SECRET_FILE" in " ".join(service.get("environment", {}))
        or "taskbridge_secret" in service.get("secrets", ())
    }
    assert holders == {"server"}
    superuser = (secrets / "postgresql").read_text()
    for role in ("server", "worker", "service"):
        url = (secrets / f"{role}_result_url").read_text()
        assert url.startswith(f"db+postgresql+psycopg://{role}:")
        assert superuser not in url


def test_nothing_that_runs_in_production_floats():
    text = (COMPOSE / "compose.yaml").read_text() + (COMPOSE / "Dockerfile").read_text()
    images = re.findall(r"^\s*(?:image: |FROM )(\S+)", text, re.MULTILINE)
    assert len(images) >= 8
    assert [one for one in images if ":" not in one] == []
    assert "latest" not in text
    assert (ROOT / ".dockerignore").exists()


def test_secrets_that_are_there_stay(secrets):
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    subprocess.run([sys.executable, SECRETS, "--folder", secrets], check=True, timeout=60)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
