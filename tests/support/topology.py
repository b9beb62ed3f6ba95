"""The production shape as plain processes, each "host" an address of the loopback network.

All are started with the files under compose/, as compose.yaml does; what differs is in this module.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import kombu

from bridge import Bridge, Settings
from support.ports import free_port
from support.process import ROOT, Process
from support.rabbitmq import advanced_configuration
from support.stack import MODE, OWN_SERVERS
from support.tools import need

__all__ = ["COMPOSE", "NODES", "Topology"]

COMPOSE = ROOT / "compose"
HOSTS = (
    "rabbitmq-1",
    "rabbitmq-2",
    "rabbitmq-3",
    "postgresql",
    "server-1",
    "server-2",
    "haproxy",
    "flower",
    "prometheus",
    "archive",
)
NODES = HOSTS[:3]
#: Those that sign tokens or verify them.
SIGNERS = ("server", "service")
START = 90.0
#: What tests add to RabbitMQ's configuration: addresses, and less of a disk than it asks for.
NODE_CONFIGURATION = """\
disk_free_limit.absolute = 10MB
management.tcp.ip = {ip}
prometheus.tcp.ip = {ip}
log.console.level = warning
"""


class Topology:
    """Three RabbitMQ nodes, PostgreSQL, HAProxy, servers, workers, archive, Flower, Prometheus.

    Args:
        backends: file of HAProxy's that says which servers there are.
        variables: more of the environment of servers, workers and Flower.
    """

    def __init__(self, backends: str = "1-shard.cfg", **variables: str) -> None:
        # Not in pytest's folder, which only root may enter: PostgreSQL runs as somebody else.
        self.folder = Path(tempfile.mkdtemp(prefix="taskbridge-topology-"))
        self.folder.chmod(0o755)
        net = f"127.{random.randrange(2, 250)}.{random.randrange(1, 250)}"
        self.ip = {host: f"{net}.{number}" for number, host in enumerate(HOSTS, start=1)}
        self.processes: dict[str, Process] = {}
        #: Folder with the programs of a node's own release of RabbitMQ, if it has one.
        self.releases: dict[str, Path] = {}
        # One for all nodes: it always has 127.0.0.1 too. It takes equal ports for a conflict.
        self._epmd_port = str(free_port())
        self._distribution = {node: str(free_port()) for node in NODES}
        self._backends, self._variables = COMPOSE / "haproxy" / "backends" / backends, variables
        self.secrets = self.folder / "secrets"
        self._make_secrets()

    def _make_secrets(self) -> None:
        nodes = [f"{self.ip[node]}:5672" for node in NODES]
        made = [sys.executable, COMPOSE / "make_secrets.py", "--folder", self.secrets]
        addresses = ["--rabbitmq", *nodes, "--postgresql", f"{self.ip['postgresql']}:5432"]
        subprocess.run([*made, *addresses, "--host", self.ip["haproxy"]], check=True, timeout=60)
        subprocess.run(
            [*self._definitions, "--secrets", self.secrets, "--output", self._loaded],
            check=True,
            timeout=60,
            env={**os.environ, "TASKBRIDGE_QUEUE_TYPE": "quorum", **self._variables},
        )

    @property
    def _loaded(self) -> Path:
        return self.folder / "definitions.json"

    @property
    def _definitions(self) -> list[Any]:
        return [sys.executable, COMPOSE / "rabbitmq" / "definitions.py"]

    @property
    def url(self) -> str:
        """Where clients reach the servers, through the balancer."""
        return f"https://{self.ip['haproxy']}:8443"

    @property
    def certificate(self) -> Path:
        """The balancer's, which is signed by itself."""
        return self.secrets / "tls_certificate"

    def environ(self, role: str) -> dict[str, str]:
        """Return the environment of a program of ours."""
        kept = {name: value for name, value in os.environ.items() if "TASKBRIDGE" not in name}
        files = {
            **({"SECRET": "taskbridge_secret"} if role in SIGNERS else {}),
            "RESULT_URL": f"{role}_result_url",
            "ARCHIVE_URL": f"{role}_archive_url",
            "BROKER_URL": f"{role}_broker_url",
            "EVENTS_URL": f"{role}_events_url",
        }
        given = {f"TASKBRIDGE_{name}_FILE": str(self.secrets / file) for name, file in files.items()
                 if (self.secrets / file).exists()}  # fmt: skip
        return {
            **kept,
            **given,
            "PYTHONPATH": str(ROOT / "tests"),
            "PYTHONUNBUFFERED": "1",
            "TASKBRIDGE_HOME": str(self.folder / role),
            "TASKBRIDGE_QUEUE_TYPE": "quorum",
            "TASKBRIDGE_TASKS": "workers.jobs.*,support.*",
            "TASKBRIDGE_INCLUDE": "support.tasks",
            "TASKBRIDGE_URL": self.url,
            **self._variables,
        }

    @property
    def bridge(self) -> Bridge:
        """A service's."""
        return Bridge(settings=Settings.from_environ(self.environ("service")))

    def start(self, name: str, argv: list[Any], env: dict[str, str], cwd: Path = ROOT) -> Process:
        """Start a process, or start it again."""
        process = Process(argv, self.folder / f"{name}.log", env, cwd=cwd, name=name)
        self.processes[name] = process
        return process

    def start_brokers(self) -> None:
        """Start the RabbitMQ nodes at once, as a cluster that finds itself."""
        addresses = [self.ip[node] for node in NODES]
        hosts = "".join(
            f'{{host, {{{ip.replace(".", ",")}}}, ["{node}"]}}.\n'
            for node, ip in zip(NODES, addresses, strict=True)
        )
        (self.folder / "inetrc").write_text(hosts + "{lookup, [file, native]}.\n")
        epmd = [need("epmd"), "-port", self._epmd_port, "-address", ",".join(addresses)]
        self.start("epmd", epmd, self._erlang("rabbitmq-1"))
        for node in NODES:
            self.start_broker(node)
        for node in NODES:
            self.await_broker(node)
        subprocess.run(
            [*self._definitions, "--declare", self.secrets / "operator_events_url"],
            check=True,
            timeout=60,
            env={**os.environ, **self._variables},
        )

    def start_broker(self, node: str) -> None:
        """Start one node, with the data of its last run."""
        home = self.folder / node
        if not home.exists():
            (home / "conf.d").mkdir(parents=True)
            (home / "conf.d" / "20-taskbridge.conf").symlink_to(COMPOSE / "rabbitmq/rabbitmq.conf")
            configuration = NODE_CONFIGURATION.format(ip=self.ip[node])
            (home / "conf.d" / "90-tests.conf").write_text(configuration)
            cookie = home / ".erlang.cookie"
            shutil.copy(self.secrets / "erlang_cookie", cookie)
            cookie.chmod(0o400)
            (home / "rabbitmq-env.conf").write_text("")
        self.start(node, [self._program(node, "rabbitmq-server")], self._erlang(node), home)

    def _program(self, node: str, name: str) -> str:
        release = self.releases.get(node)
        return str(release / name) if release else need(name)

    def _erlang(self, node: str) -> dict[str, str]:
        home, ip = str(self.folder / node), self.ip[node]
        tools = Path(self._program(node, "rabbitmqctl")).parent
        return {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": home,
            "ERL_INETRC": str(self.folder / "inetrc"),
            "ERL_EPMD_PORT": self._epmd_port,
            "RABBITMQ_NODENAME": f"rabbit-{node[-1]}@{node}",
            "RABBITMQ_NODE_IP_ADDRESS": ip,
            "RABBITMQ_NODE_PORT": "5672",
            "RABBITMQ_DIST_PORT": self._distribution[node],
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_CONFIG_FILES": f"{home}/conf.d",
            "RABBITMQ_CONFIG_FILE": f"{home}/none",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(advanced_configuration(Path(home))),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(COMPOSE / "rabbitmq" / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": f"{home}/rabbitmq-env.conf",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f'-rabbit load_definitions "{self._loaded}" '
                f"+S 2:2 +sbwt none -kernel inet_dist_use_interface {{{ip.replace('.', ',')}}}"
            ),
        }

    def control(self, node: str, tool: str, *arguments: str) -> str:
        """Run one of RabbitMQ's tools on a node; return what it prints."""
        done = subprocess.run(
            [self._program(node, tool), "--quiet", *arguments],
            env=self._erlang(node),
            cwd=self.folder / node,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def version(self, node: str) -> tuple[int, ...]:
        """Return the release of RabbitMQ that a node runs."""
        product = self.control(node, "rabbitmqctl", "eval", "rabbit:product_version().")
        return tuple(map(int, product.strip().strip('"').split(".")))

    def await_broker(self, node: str) -> None:
        """Wait until a node lets the operator in."""
        password = (self.secrets / "operator").read_text()
        url = f"amqp://operator:{password}@{self.ip[node]}:5672/events"
        self.processes[node].until(lambda: _lets_in(url), START, "the first login")

    def start_postgresql(self) -> None:
        """Start PostgreSQL, with the data of its last run."""
        folder, ip = self.folder / "postgresql", self.ip["postgresql"]
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        somebody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        somebody = somebody if os.geteuid() == 0 else []
        fresh = not folder.exists()
        if fresh:
            folder.mkdir()
            password = folder / "password"
            password.write_text((self.secrets / "postgresql").read_text())
            if somebody:
                for one in (folder, password):
                    shutil.chown(one, "postgres", "postgres")
            made = [programs / "initdb", "-D", folder / "data", "-U", "taskbridge", "-A"]
            made += ["scram-sha-256", "--pwfile", password, "--no-sync"]
            subprocess.run([*somebody, *made], check=True, capture_output=True, timeout=60, cwd="/")
        options = {
            "config_file": COMPOSE / "postgresql" / "postgresql.conf",
            "hba_file": COMPOSE / "postgresql" / "pg_hba.conf",
            "listen_addresses": ip,
            "unix_socket_directories": folder,
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        argv = [*somebody, programs / "postgres", "-D", folder / "data", *given]
        process = self.start("postgresql", argv, dict(os.environ), Path("/"))
        process.until(self._made_database, START, "a database for results")
        if fresh:
            self.make_roles()

    def make_roles(self) -> None:
        """Make PostgreSQL's tables and logins, as compose's service ``results`` does."""
        roles = [sys.executable, COMPOSE / "postgresql" / "roles.py", "--secrets", self.secrets]
        subprocess.run(roles, check=True, timeout=60)

    def _made_database(self) -> bool:
        """Make the database, as PostgreSQL's image does; whether there is one."""
        import psycopg

        password = (self.secrets / "postgresql").read_text()
        who = {"host": self.ip["postgresql"], "user": "taskbridge", "password": password}
        try:
            with psycopg.connect(**who, dbname="postgres", autocommit=True) as connection:
                found = connection.execute("select 1 from pg_database where datname = 'taskbridge'")
                if found.fetchone() is None:
                    connection.execute("create database taskbridge")
        except psycopg.OperationalError:
            return False
        return True

    def start_server(self, name: str, **variables: str) -> Process:
        """Start a server, and wait until it is ready."""
        address = {"TASKBRIDGE_HOST": self.ip[name], "TASKBRIDGE_PORT": "8000"}
        more = {
            "TASKBRIDGE_HEALTH_PORT": "8001",
            "TASKBRIDGE_TRUSTED_PROXIES": "127.0.0.1",
            "TASKBRIDGE_MAX_CONNECTIONS_PER_ADDRESS": "100000",
            "TASKBRIDGE_CONNECTS_PER_SECOND": "10000",
            "TASKBRIDGE_ORIGINS": self.url,
        }
        mode = {"TASKBRIDGE_ASYNC_MODE": OWN_SERVERS.get(MODE, "")}
        env = {**self.environ("server"), **mode, **address, **more, **variables}
        server = self.start(name, [sys.executable, "-m", "socket_server"], env)
        server.until(lambda: self.is_ready(name), START, "it is ready")
        return server

    def is_ready(self, name: str) -> bool:
        """Whether a server says that it is."""
        return _answers(f"http://{self.ip[name]}:8001/readyz")

    def get(self, url: str) -> Any:
        """Return the JSON that is at a URL."""
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def figures(self, name: str) -> dict[str, float]:
        """Return a server's figures, those with labels under their whole names."""
        with urllib.request.urlopen(f"http://{self.ip[name]}:8001/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {figure: float(value) for figure, _, value in pairs}

    def start_worker(self, name: str, *arguments: str) -> Process:
        """Start a worker, and wait until it is ready."""
        argv = [sys.executable, "-m", "bridge.cli", "worker", *arguments]
        worker = self.start(name, argv, self.environ("worker"))
        seen = worker.output.count("ready.")
        worker.until(lambda: worker.output.count("ready.") > seen, START, "it is ready")
        return worker

    def start_archive(self) -> Process:
        """Start the archive, and wait until it hears the broker and its database answers."""
        address = {"TASKBRIDGE_HOST": self.ip["archive"], "TASKBRIDGE_ARCHIVE_PORT": "8002"}
        env = {**self.environ("archive"), **address}
        archive = self.start("archive", [sys.executable, "-m", "bridge.cli", "archive"], env)
        archive.until(
            lambda: _answers(f"http://{self.ip['archive']}:8002/healthz"), START, "it is healthy"
        )
        return archive

    def start_haproxy(self) -> None:
        """Start the balancer, and wait until it finds a server."""
        ip = self.ip["haproxy"]
        variables = {
            "TLS_CERTIFICATE": str(self.certificate),
            "HTTPS": f"{ip}:8443",
            "HTTP": f"{ip}:8080",
            "STATS": f"{ip}:8404",
            "MAX_CONNECTIONS": "5000",
            "SERVER_1": f"{self.ip['server-1']}:8000",
            "SERVER_2": f"{self.ip['server-2']}:8000",
        }
        files = ["-f", COMPOSE / "haproxy" / "haproxy.cfg", "-f", self._backends]
        argv = [need("haproxy"), "-W", "-db", *files]
        process = self.start("haproxy", argv, {**os.environ, **variables})
        process.until(self._balances, 20, "a server behind it")

    def _balances(self) -> bool:
        import ssl

        trust = ssl.create_default_context(cafile=str(self.certificate))
        return _answers(f"{self.url}/readyz", context=trust)

    def start_flower(self) -> None:
        """Start Flower, and wait until it answers."""
        env = {
            **self.environ("flower"),
            "TASKBRIDGE_BROKER_API_FILE": str(self.secrets / "flower_broker_api"),
            "TASKBRIDGE_FLOWER_AUTH_FILE": str(self.secrets / "flower_login"),
        }
        argv = [sys.executable, "-m", "bridge.cli", "flower", "--address", self.ip["flower"]]
        process = self.start("flower", argv, env)
        process.until(self._flower_answers, START, "the first answer")

    def _flower_answers(self) -> bool:
        return _answers(f"http://{self.ip['flower']}:5555/healthcheck")

    def start_prometheus(self) -> None:
        """Start Prometheus with compose's files, and targets at the addresses that there are."""
        folder = self.folder / "prometheus"
        shutil.copytree(COMPOSE / "prometheus", folder)
        for file in (folder / "targets").iterdir():
            text = file.read_text().replace("localhost", self.ip["prometheus"])
            for host, ip in self.ip.items():
                text = text.replace(f"{host}:", f"{ip}:")
            file.write_text(text)
        argv = [need("prometheus"), f"--config.file={folder}/prometheus.yml"]
        argv += [f"--storage.tsdb.path={folder}/data"]
        argv += [f"--web.listen-address={self.ip['prometheus']}:9090"]
        process = self.start("prometheus", argv, dict(os.environ))
        process.await_output("Server is ready to receive web requests")

    def stop(self) -> None:
        """End everything, and remove its files."""
        for process in reversed(list(self.processes.values())):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _answers(url: str, **options: Any) -> bool:
    """Whether somebody answers there that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=3, **options):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _lets_in(url: str) -> bool:
    with kombu.Connection(url, connect_timeout=2) as connection:
        try:
            connection.connect()
        except (OSError, *connection.connection_errors):
            return False
        return True
