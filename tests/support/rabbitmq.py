"""A RabbitMQ node of the tests' own: own data, own ports, own epmd, whoever runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kombu import Connection

from support.certificates import Certificate
from support.ports import free_port, is_listening
from support.process import Process
from support.tools import need
from support.wait import until

#: Seconds for a cold start on a busy machine; about 4 on an idle one.
START = 60.0

CONFIGURATION = """\
disk_free_limit.absolute = 10MB
log.console = true
log.console.level = warning
log.file = false
"""

#: What RabbitMQ has deprecated, denied.
DEPRECATED = Path(__file__).with_name("deprecated.config")


def advanced_configuration(folder: Path) -> Path:
    """Return the file of Erlang terms that the node of a folder reads at its next start.

    Where Mnesia keeps a node's data (before 4.2), a later start denies nothing: RabbitMQ 4.0 may
    take any queue for a transient one that is in use, and would not start.
    """
    return folder / "none.config" if any(folder.glob("data/*/schema.DAT")) else DEPRECATED


class RabbitMQ:
    """One node, stopped and restarted at will; its data stays until its folder is removed.

    Args:
        folder: an empty folder for everything it writes.
        definitions: file that it reads at each start; default none.
        login: user, password and virtual host of who may do everything.
    """

    def __init__(
        self, folder: Path, definitions: Path | None = None, login: str = "guest:guest@/"
    ) -> None:
        self.folder, self._definitions, self._login = folder, definitions, login
        self.port, self._distribution, self._epmd_port = free_port(), free_port(), free_port()
        self.process: Process | None = None
        self._epmd: Process | None = None
        self._made = 0

    @property
    def name(self) -> str:
        """Node name; at localhost, which resolves without a name server."""
        return f"taskbridge-{self.port}@localhost"

    @property
    def url(self) -> str:
        """URL for who may do everything; of virtual host ``/`` unless told otherwise."""
        account, _, vhost = self._login.partition("@")
        return f"amqp://{account}@127.0.0.1:{self.port}/{vhost}"

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of the node and its tools."""
        home = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": home,  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": f"{home}/data",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(advanced_configuration(self.folder)),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/rabbitmq-env.conf",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def start(self) -> RabbitMQ:
        """Start it, with the data of its last run, wait until it speaks AMQP, and return it."""
        server = need("rabbitmq-server")
        self._configure()
        # An epmd that the node starts by itself is a daemon that outlives it; ours is found.
        epmd = [need("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = Process(epmd, env=self.environ, log=self.folder / "epmd.log")
        self._epmd.until(lambda: is_listening(self._epmd_port), 30, "the first connection")
        log = self.folder / "rabbitmq.log"
        self.process = Process([server], env=self.environ, log=log, cwd=self.folder)
        try:
            self.process.until(self._answers, START, "the first AMQP connection")
        except AssertionError:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the node in good order."""
        self._end(kill=False)

    def kill(self) -> None:
        """End the node at once, as a crash."""
        self._end(kill=True)

    def freeze(self) -> None:
        """Leave connections open and answer nothing."""
        assert self.process
        self.process.freeze()

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""
        assert self.process
        self.process.thaw()

    def new_vhost(self) -> str:
        """Make an empty virtual host and return its URL, so that tests share a node, not queues."""
        self._made += 1
        name = f'<<"test-{self._made}">>'
        self.evaluate(
            f'ok = rabbit_vhost:add({name}, <<"test">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, {name}, '
            '<<".*">>, <<".*">>, <<".*">>, <<"test">>).'
        )
        return f"amqp://guest:guest@127.0.0.1:{self.port}/test-{self._made}"

    def listen_tls(self, certificate: Certificate, authority: Path, more: str = "") -> int:
        """Listen at another port, over TLS, until the node stops; return the port.

        Args:
            certificate: of the node.
            authority: file with the certificate by which clients' own are checked.
            more: options of Erlang's ``ssl``, as Erlang, with a comma at the end.
        """
        port, files = free_port(), {"certfile": certificate.chain, "keyfile": certificate.key}
        told = ",".join(
            f'{{{name},"{file}"}}' for name, file in {**files, "cacertfile": authority}.items()
        )
        listener = f'{{"127.0.0.1",{port}}}, [{more}{told}], 2'
        self.evaluate(f"rabbit_networking:start_ssl_listener({listener}).")
        return port

    def blocks(self, url: str) -> bool:
        """Whether the node blocks a publisher of the virtual host of ``url``."""
        connections = "rabbit_networking:connection_info_all([vhost, state])"
        vhost = url.rpartition("/")[2]
        blocked = f'lists:member([{{vhost, <<"{vhost}">>}}, {{state, blocked}}], {connections}).'
        return self.evaluate(blocked) == "true"

    def evaluate(self, expression: str) -> str:
        """Evaluate Erlang on the node; return its value, as Erlang prints it.

        ``rabbitmqctl eval`` would start a virtual machine for it, with a second of CPU.
        """
        argv = [need("erl_call"), "-sname", self.name, "-e"]
        done = subprocess.run(
            argv,
            env=self.environ,
            input=f"{expression}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        answer = done.stdout.strip()
        assert answer.startswith("{ok, "), f"{expression}: {answer}{done.stderr}"
        return answer.removeprefix("{ok, ").removesuffix("}")

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` with these arguments and return what it prints."""
        argv = [need("rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(
            argv, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def _configure(self) -> None:
        file = self._definitions
        load = f"load_definitions = {file}\n" if file else ""
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION + load)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").write_text("")

    def _answers(self) -> bool:
        with Connection(self.url, connect_timeout=2, heartbeat=0) as connection:
            try:
                connection.connect()
            except connection.recoverable_connection_errors:
                return False
            return True

    def _end(self, *, kill: bool) -> None:
        for process in (self.process, self._epmd):
            if process and kill:
                process.kill()
            elif process:
                process.stop(30)
        self.process = self._epmd = None
        # Of a killed node the kernel may close the socket a moment after its parent was reaped.
        until(lambda: not is_listening(self.port), 30, f"port {self.port} to be free again")
