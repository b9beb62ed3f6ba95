"""All settings, from ``TASKBRIDGE_*`` variables, as one frozen value."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from bridge.errors import SettingsError
from bridge.extras import ASYNC_MODES
from bridge.settings import broker_url
from bridge.settings import parsers as types
from bridge.settings import webhooks as webhook_types
from bridge.settings.variables import converted, read

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["Settings"]

T = TypeVar("T")


def _setting(parse: Callable[[str], T], default: T, *, hidden: bool = False) -> T:
    return field(default=default, repr=not hidden, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of all parts of taskbridge. Times are in seconds.

    Each field ``name`` is read from the variable ``TASKBRIDGE_NAME``. Settings that may contain a
    secret are left out of ``repr``, and can be read from a file that ``TASKBRIDGE_NAME_FILE``
    names. In Python, a string for a field of another type is parsed as the variable is, and a list
    becomes a tuple.

    Raises:
        SettingsError: a string cannot be parsed, or a key is no string or has fewer than 32 bytes.
    """

    #: Folder of the embedded broker, the SQLite results and the generated secret.
    home: Path = _setting(Path, Path(".taskbridge"))
    #: Broker of tasks and events; None means that of the Celery application, or without one the
    #: embedded broker in ``home``. Several URLs of RabbitMQ, separated by semicolons: any one that
    #: answers is used.
    broker_url: str | None = _setting(types.broker, None, hidden=True)
    #: Broker of events, if it is not the broker of tasks: another virtual host, for example.
    events_url: str | None = _setting(types.broker, None, hidden=True)
    #: CA certificates, in PEM, that verify the certificate of an amqps:// or rediss:// broker; None
    #: means those of the system.
    broker_cafile: Path | None = _setting(types.authorities, None)
    #: Client certificate and key, in PEM, for a broker that asks for a client certificate.
    broker_certfile: Path | None = _setting(types.file, None)
    broker_keyfile: Path | None = _setting(types.file, None)
    #: Maximum bytes of log lines and output that the tasks of one process send a second, averaged
    #: over a minute; for one task, and for own events, half of it. Beyond it the oldest lines are
    #: dropped, counted, and shown as missing.
    line_bytes_per_second: int = _setting(types.count, 256 * 1024)
    #: Maximum bytes of memory, 256 KiB or more, of the unsent events of one process; it holds for a
    #: worker's main process and for each of its pool processes. Beyond it log lines are dropped
    #: first, then own events, and lifecycle events last.
    outbox_bytes: int = _setting(types.outbox_bytes, 32 * 1024 * 1024)
    #: Celery's result backend; None means that of the Celery application, or without one SQLite in
    #: ``home``.
    result_url: str | None = _setting(str, None, hidden=True)
    #: Where checkpoints of tasks are stored, as a URL of a result backend of Celery; None means
    #: with the results.
    checkpoint_url: str | None = _setting(str, None, hidden=True)
    #: How long a checkpoint is kept after it was stored: a day, unless its task succeeds before.
    checkpoint_retention: float = _setting(types.seconds, 86_400.0)
    #: How long an idempotency key is kept after its first use, in the same place as checkpoints.
    idempotency_retention: float = _setting(types.seconds, 86_400.0)
    #: Maximum bytes of JSON of a job's arguments, from 0 to 32768, that are sent to the archive, so
    #: that the job can be run again; 0 means that none are. Redacted ones never are.
    kept_argument_bytes: int = _setting(types.kept_bytes, 16 * 1024)
    #: Type of the task queue on RabbitMQ: classic, or quorum, which a cluster replicates.
    queue_type: str = _setting(types.queue_type, "classic")
    #: Keys of at least 32 bytes, separated by commas; the first signs, all verify.
    secret: tuple[str, ...] = _setting(types.secrets, (), hidden=True)
    #: Name of the exchange to which events are published.
    channel: str = _setting(str, "taskbridge")
    #: Into how many parts (shards), each with its own channel, jobs are divided by their owners.
    shards: int = _setting(types.count, 1)
    #: Number of the shard that this server serves, counted from 0.
    shard: int = _setting(types.whole, 0)
    #: Address that the socket server binds; 0.0.0.0 for all.
    host: str = _setting(str, "127.0.0.1")
    #: Port that the socket server binds.
    port: int = _setting(types.port, 8000)
    #: Second port, which serves only /healthz, /readyz and /metrics, and answers even if the main
    #: port has reached its connection limit.
    health_port: int | None = _setting(types.port, None)
    #: URL at which clients reach the socket server; None means the one ``taskbridge up`` stored
    #: in ``home``, else http://host:port, or https:// with a certificate.
    url: str | None = _setting(str, None)
    #: Allowed origins of browser pages, beside the server's own. Programs need none.
    origins: tuple[str, ...] = _setting(types.origins, ())
    #: URL of Flower for browsers; the page links jobs to it. None means no links.
    flower_url: str | None = _setting(types.origin, None)
    #: Login to Flower, as ``user:password``; required if Flower listens on a public address.
    flower_auth: str | None = _setting(types.login, None, hidden=True)
    #: URL of RabbitMQ's management API, from which Flower reads queue lengths, and ``taskbridge
    #: doctor`` whether a job ends if the broker drops its message.
    broker_api: str | None = _setting(types.origin, None, hidden=True)
    #: Certificate chain and key, in PEM, of a server that serves TLS itself.
    certfile: Path | None = _setting(types.file, None)
    keyfile: Path | None = _setting(types.file, None)
    #: Addresses or networks of proxies whose X-Forwarded-* headers are trusted; ``unix`` for those
    #: that connect to gunicorn's Unix socket.
    trusted_proxies: tuple[IPv4Network | IPv6Network | str, ...] = _setting(types.networks, ())
    #: ``package.module:function``, which authenticates clients by the application's own session.
    auth: str | None = _setting(types.function, None)
    #: Maximum lifetime of a grant by the ``TASKBRIDGE_AUTH`` function, which is called again before
    #: that while the client is connected: a client stays no longer after its session has ended.
    session_ttl: float = _setting(types.seconds, 300.0)
    #: Required audience (aud) and issuer (iss) of tokens; None means no audience, and any issuer.
    token_audience: str | None = _setting(str, None)
    token_issuer: str | None = _setting(str, None)
    #: Allowed difference between the clocks of a token's signer and of a server.
    token_leeway: float = _setting(types.seconds, 5.0)
    #: How long after the issue of a token that names a single job a server renews it for a client
    #: that watches the job, while the job is unfinished; 0 means never.
    token_renewal: float = _setting(types.duration, 86_400.0)
    #: Whether GET /api/progress/<id> accepts a token in its URL, which logs and browser histories
    #: record; for celery-progress's script, during a migration from it.
    url_tokens: bool = _setting(types.flag, False)
    #: Engine.IO transports that the server offers: ``websocket``, ``polling``.
    transports: tuple[str, ...] = _setting(types.listed, ("websocket",))
    #: Names (fnmatch wildcards allowed) of tasks that a client may enqueue.
    tasks: tuple[str, ...] = _setting(types.listed, ())
    #: Maximum bytes of JSON of one task's arguments when a job is enqueued.
    argument_bytes: int = _setting(types.count, 1024 * 1024)
    #: Modules with tasks that the shipped worker application imports.
    include: tuple[str, ...] = _setting(types.listed, ())
    #: Folders, as absolute paths, that the reference jobs may read; empty means none.
    input_roots: tuple[Path, ...] = _setting(types.roots, ())
    #: Folder, as an absolute path, in which each reference job writes to a folder of its own; None
    #: means that they write nothing.
    output_root: Path | None = _setting(types.root, None)
    #: Databases that the job ``import_csv`` may write to: ``name=URL``, separated by commas, with
    #: SQLAlchemy URLs.
    databases: tuple[tuple[str, str], ...] = _setting(types.databases, (), hidden=True)
    #: How far back a starting server reads earlier events; the broker keeps them as long.
    replay: float = _setting(types.seconds, 3600.0)
    #: Maximum bytes of events that the broker keeps for replay; the oldest are removed first.
    stream_bytes: int = _setting(types.count, 512 * 1024 * 1024)
    #: How long a server keeps a finished job.
    retention: float = _setting(types.seconds, 3600.0)
    #: Maximum jobs that a server keeps: in all (beyond it finished jobs are removed, whatever their
    #: age), and unfinished ones.
    journal_jobs: int = _setting(types.count, 10_000)
    journal_unfinished: int = _setting(types.count, 100_000)
    #: Maximum bytes of events that a server keeps; those of finished jobs are removed first.
    journal_bytes: int = _setting(types.count, 256 * 1024 * 1024)
    #: Database of the archive, which `taskbridge archive` writes and servers search for jobs that
    #: they have forgotten: postgresql://user:password@host/name, or sqlite:////srv/archive.sqlite.
    #: None means no archive.
    archive_url: str | None = _setting(types.archive, None, hidden=True)
    #: How long the archive keeps a job after its last event.
    archive_retention: float = _setting(types.seconds, 30 * 86_400.0)
    #: Maximum bytes of log, output and kept arguments, as JSON, that the archive keeps; those of
    #: the jobs without an event for the longest time are removed first.
    archive_bytes: int = _setting(types.count, 10 * 1024**3)
    #: Port at which the archive answers /healthz and /metrics; None for none.
    archive_port: int | None = _setting(types.port, None)
    #: Webhooks that a service may name when it enqueues a job, with the endpoints to which the
    #: archive delivers the job's end: ``name=https://host/path``, separated by commas.
    webhooks: tuple[tuple[str, str], ...] = _setting(webhook_types.endpoints, (), hidden=True)
    #: Secrets of these webhooks, which sign what is delivered: ``name=whsec_…``, separated by
    #: commas. A webhook may have several, each of which signs.
    webhook_secrets: tuple[tuple[str, str], ...] = _setting(webhook_types.secrets, (), hidden=True)
    #: Networks to which the archive may deliver, beside all public addresses.
    webhook_allow: tuple[IPv4Network | IPv6Network, ...] = _setting(webhook_types.networks, ())
    #: Whether endpoints may have http:// URLs.
    webhook_http: bool = _setting(types.flag, False)
    #: How long a running task may send no event before it is reported as stalled, and then lost. A
    #: waiting task is lost after twice the second if its message is gone, on RabbitMQ.
    stalled_after: float = _setting(types.seconds, 15.0)
    lost_after: float = _setting(types.seconds, 60.0)
    #: How long a running job may continue after its cancellation before its process is terminated.
    cancel_grace: float = _setting(types.seconds, 10.0)
    #: How long a worker that shuts down lets running jobs go on before it returns them to a queue.
    stop_grace: float = _setting(types.seconds, 10.0)
    #: Time over which a stopping server spreads the disconnection of its clients.
    drain_spread: float = _setting(types.seconds, 2.0)
    #: Whether OpenTelemetry spans are sent, as its OTEL_* variables configure; extra ``otel``.
    tracing: bool = _setting(types.flag, False)
    #: Format of a server's log: text, or json with one object per line.
    log_format: str = _setting(types.log_format, "text")
    #: Maximum open connections and requests: in all, per client address (for IPv6, its /64
    #: network), and per owner.
    max_connections: int = _setting(types.count, 10_000)
    max_connections_per_address: int = _setting(types.count, 500)
    max_connections_per_owner: int = _setting(types.count, 50)
    #: Maximum new connections, and requests (WebSockets too), per client address a second.
    connects_per_second: float = _setting(types.number, 100.0)
    #: How long a client may take to send a request, and to connect to a Socket.IO namespace.
    connect_timeout: float = _setting(types.seconds, 5.0)
    #: Maximum bytes of one message of a client, all its fragments together.
    max_message: int = _setting(types.count, 64 * 1024)
    #: Maximum requests a second: per connection, and per owner.
    requests_per_second: float = _setting(types.number, 20.0)
    owner_requests_per_second: float = _setting(types.number, 100.0)
    #: Maximum bytes of answers a second: per connection, and per owner. Four times as many may be
    #: sent at once, and then one answer of any size.
    answer_bytes_per_second: int = _setting(types.count, 2 * 1024 * 1024)
    owner_answer_bytes_per_second: int = _setting(types.count, 8 * 1024 * 1024)
    #: Maximum jobs that one connection watches.
    max_watched: int = _setting(types.count, 1_000)
    #: Maximum jobs that one owner's clients enqueue a minute, and unfinished jobs that it may have.
    enqueues_per_minute: float = _setting(types.number, 60.0)
    max_unfinished: int = _setting(types.count, 100)
    #: Maximum bytes in the send queue of a client (an eighth of it once the client has read nothing
    #: for half a second), and how long a client may read nothing while data waits for it.
    max_backlog: int = _setting(types.count, 256 * 1024)
    slow_after: float = _setting(types.seconds, 10.0)
    #: Maximum seconds, from 0 to 1, by which a server that reads RabbitMQ's stream delays an event,
    #: while many come, to read several at a time; 0 means never. A lone event is never delayed.
    gather: float = _setting(types.delay, 0.004)
    #: Library that ``taskbridge serve`` runs on: eventlet, or gevent, which the extra ``gevent``
    #: brings.
    async_mode: str = _setting(types.async_mode, ASYNC_MODES[0])
    #: Whether a server uses its own faster code instead of that of the libraries below it.
    fast_path: bool = _setting(types.flag, True)
    #: Names (fnmatch wildcards allowed) of tasks whose arguments are hidden from operators.
    redact: tuple[str, ...] = _setting(types.listed, ())
    #: Output that is captured in jobs with an owner: bars of ``tqdm`` and ``rich`` (with either of
    #: them, Celery's ``update_state`` too), records of ``logging``, and what is printed to
    #: ``stdout`` and ``stderr``.
    capture: tuple[str, ...] = _setting(types.capture, ("tqdm", "rich", "logging"))
    #: Level below which log records are not captured.
    capture_level: int = _setting(types.level, logging.INFO)
    #: Whether a running task's progress is stored, once a second, as the info of its result.
    store_progress: bool = _setting(types.flag, True)
    #: Whether tracebacks of failed jobs are sent to clients.
    show_tracebacks: bool = _setting(types.flag, False)

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, converted(getattr(self, one.name), one))
        try:
            types.check_keys(self.secret or ())
        except ValueError as error:
            raise SettingsError(f"TASKBRIDGE_SECRET {error}") from None
        # A task may change the working directory of its process; the home must not move with it.
        with contextlib.suppress(OSError):  # the directory is gone; not everything needs a home
            object.__setattr__(self, "home", self.home.absolute())

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environ: variables to read; default ``os.environ``. An empty value counts as unset.

        Raises:
            SettingsError: a ``TASKBRIDGE_*`` variable is unknown, its value cannot work, or the
                file that it names cannot be read.
        """
        settings = cls(**read(os.environ if environ is None else environ, fields(cls)))
        settings._check()
        return settings

    def _check(self) -> None:
        if self.shard >= self.shards:
            raise SettingsError(
                f"TASKBRIDGE_SHARD={self.shard} must be less than TASKBRIDGE_SHARDS={self.shards}: "
                "they are counted from 0"
            )
        if self.lost_after <= self.stalled_after:
            raise SettingsError(
                f"TASKBRIDGE_LOST_AFTER={self.lost_after:g} must be more than "
                f"TASKBRIDGE_STALLED_AFTER={self.stalled_after:g}"
            )
        if self.keyfile and not self.certfile:
            raise SettingsError("TASKBRIDGE_KEYFILE needs TASKBRIDGE_CERTFILE beside it")
        self._check_broker_certificate()
        self._check_roots()
        if told := webhook_types.check(self.webhooks, self.webhook_secrets, self.webhook_http):
            raise SettingsError(told)

    def _check_roots(self) -> None:
        kept = {"TASKBRIDGE_HOME": self.home.resolve()}
        if self.output_root:
            output, home = self.output_root.resolve(), kept["TASKBRIDGE_HOME"]
            if output.is_relative_to(home) or home.is_relative_to(output):
                raise SettingsError(
                    f"TASKBRIDGE_OUTPUT_ROOT={self.output_root} and TASKBRIDGE_HOME={self.home} "
                    "must not be inside one another: choose another folder for one of them"
                )
            kept["TASKBRIDGE_OUTPUT_ROOT"] = output
        for root in self.input_roots:
            if name := next(
                (n for n, one in kept.items() if root.resolve().is_relative_to(one)), None
            ):
                raise SettingsError(
                    f"TASKBRIDGE_INPUT_ROOTS lists {root}, which is inside {name}, where jobs may "
                    "read nothing: choose another folder"
                )

    def _check_broker_certificate(self) -> None:
        certificate, key = self.broker_certfile, self.broker_keyfile
        if key and not certificate:
            raise SettingsError("TASKBRIDGE_BROKER_KEYFILE needs TASKBRIDGE_BROKER_CERTFILE too")
        if certificate:
            try:
                broker_url.check_pair(str(certificate), str(key) if key else None)
            except ValueError as error:
                raise SettingsError(f"TASKBRIDGE_BROKER_CERTFILE={certificate} {error}") from None

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed (already parsed values)."""
        return replace(self, **changes)

    @property
    def broker(self) -> str:
        """URL of the broker in use."""
        return self.broker_url or f"embedded://localhost{(self.home / 'broker').absolute()}"

    @property
    def events(self) -> str:
        """URL of the broker of events."""
        return self.events_url or self.broker

    @property
    def embedded(self) -> bool:
        """Whether the embedded broker is in use."""
        return self.broker.startswith("embedded:")

    @property
    def results(self) -> str:
        """URL of Celery's result backend in use."""
        return self.result_url or f"db+sqlite:///{(self.home / 'results.sqlite').absolute()}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of tokens: from the settings, else the one kept in ``home``; never empty.

        Raises:
            SettingsError: there is no key.
        """
        if self.secret:
            return self.secret
        try:
            keys = types.secrets((self.home / "secret").read_text().strip())
        except (OSError, ValueError):
            keys = ()
        if not keys:
            raise SettingsError(
                "no secret: set TASKBRIDGE_SECRET to a random string of 32 or more bytes, or run "
                "in the folder where `taskbridge up` made .taskbridge/secret"
            )
        return keys

    @property
    def server_url(self) -> str:
        """URL at which clients reach the socket server."""
        if self.url:
            return self.url.rstrip("/")
        try:
            return (self.home / "url").read_text().strip()
        except OSError:
            host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
            return f"{'https' if self.certfile else 'http'}://{host}:{self.port}"

    def url_of(self, shard: int | None, path: str = "") -> str:
        """Return a URL of the socket server, with the shard by which a balancer routes it."""
        query = "" if shard is None or self.shards == 1 else f"?shard={shard}"
        return f"{self.server_url}{path}{query}"

    @property
    def socket_path(self) -> str:
        """Path of Socket.IO at the server, below the path of the server's URL."""
        return f"{urlsplit(self.server_url).path}/socket.io".strip("/")
