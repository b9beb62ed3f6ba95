"""All settings, from ``TASKBRIDGE_*`` variables, as one frozen value."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import SettingsError
from bridge.settings import broker_url
from bridge.settings import parsers as types

__all__ = ["PREFIX", "Settings", "without_keys"]

PREFIX = "TASKBRIDGE_"


def _setting(parse: Callable[[str], Any], default: Any, *, hidden: bool = False) -> Any:
    return field(default=default, repr=not hidden, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every part of taskbridge is told from outside. Times are in seconds.

    Each field ``name`` is read from the variable ``TASKBRIDGE_NAME``. Secrets and URLs, which
    may carry passwords, are left out of ``repr``, and can be in a file of their own, which
    ``TASKBRIDGE_NAME_FILE`` names.
    """

    #: Folder of the embedded broker, the SQLite results and the generated secret.
    home: Path = _setting(Path, Path(".taskbridge"))
    #: Broker of tasks and events; None means the embedded broker in ``home``. Several URLs of
    #: RabbitMQ, separated by semicolons: any one that answers is used.
    broker_url: str | None = _setting(types.broker, None, hidden=True)
    #: Broker of events, where they do not travel on that of tasks: another virtual host, say.
    events_url: str | None = _setting(types.broker, None, hidden=True)
    #: Certificates, in PEM, of the authorities that may have signed that of an amqps:// or rediss://
    #: broker; None means those of the system.
    broker_cafile: Path | None = _setting(types.authorities, None)
    #: Certificate and key, in PEM, that a broker is shown which asks for one.
    broker_certfile: Path | None = _setting(types.file, None)
    broker_keyfile: Path | None = _setting(types.file, None)
    #: Bytes of log lines and output that the tasks of one process send a second, on average over a
    #: minute; one task half of it, and own events as much. Of what is more, the oldest lines are
    #: dropped, counted, and shown as missing.
    line_bytes_per_second: int = _setting(types.count, 256 * 1024)
    #: Bytes of memory, 256 KiB or more, that what one process has not sent yet may take. The parent
    #: and the children of a worker have as much each. Beyond it log lines are dropped first, then
    #: own events, and lifecycle events last.
    outbox_bytes: int = _setting(types.outbox_bytes, 32 * 1024 * 1024)
    #: Celery's result backend; None means SQLite in ``home``.
    result_url: str | None = _setting(str, None, hidden=True)
    #: Type of the queue of tasks on RabbitMQ: classic, or quorum, which a cluster replicates.
    queue_type: str = _setting(types.queue_type, "classic")
    #: Keys of at least 32 bytes, separated by commas; the first signs, all verify.
    secret: tuple[str, ...] = _setting(types.secrets, (), hidden=True)
    #: Name of the exchange on which events travel.
    channel: str = _setting(str, "taskbridge")
    #: Into how many parts, each with a channel of its own, jobs are divided by their owners.
    shards: int = _setting(types.count, 1)
    #: Which of them, from 0 on, this server serves.
    shard: int = _setting(types.whole, 0)
    #: Address that the socket server binds; 0.0.0.0 for all.
    host: str = _setting(str, "127.0.0.1")
    #: Port that the socket server binds.
    port: int = _setting(types.port, 8000)
    #: A second port, with /healthz, /readyz and /metrics alone, which answers when the main one is
    #: full.
    health_port: int | None = _setting(types.port, None)
    #: Where clients reach the socket server; None means what ``taskbridge up`` noted, else
    #: http://host:port.
    url: str | None = _setting(str, None)
    #: Origins that a browser page may come from; empty means the server's own.
    origins: tuple[str, ...] = _setting(types.origins, ())
    #: Where people find Flower; the page links jobs to it. None means no links.
    flower_url: str | None = _setting(types.origin, None)
    #: ``user:password`` of who may use Flower; needed where it listens to other machines.
    flower_auth: str | None = _setting(types.login, None, hidden=True)
    #: RabbitMQ's management API, from which Flower learns how long queues are, and ``taskbridge
    #: doctor`` whether jobs end whose messages the broker drops.
    broker_api: str | None = _setting(types.origin, None, hidden=True)
    #: Certificate chain, and key, in PEM, of a server that speaks TLS itself.
    certfile: Path | None = _setting(types.file, None)
    keyfile: Path | None = _setting(types.file, None)
    #: Addresses, or networks of them, of proxies whose X-Forwarded-* headers are believed; ``unix``
    #: for proxies that connect to gunicorn's Unix socket.
    trusted_proxies: tuple[Any, ...] = _setting(types.networks, ())
    #: ``package.module:function``, which lets clients in by a session of the application's own.
    auth: str | None = _setting(types.function, None)
    #: How long what it granted holds at most: it is asked again before that, for as long as the
    #: client is connected. So long at most a client stays whose session has ended.
    session_ttl: float = _setting(types.seconds, 300.0)
    #: What tokens must say they are for, and by whom they were made; None means that nobody asks.
    token_audience: str | None = _setting(str, None)
    token_issuer: str | None = _setting(str, None)
    #: How far the clocks of who signs a token and of a server may be apart.
    token_leeway: float = _setting(types.seconds, 5.0)
    #: Whether GET /api/progress/<id> takes a token in its URL, where logs and histories see it; for
    #: celery-progress's script, while pages move over.
    url_tokens: bool = _setting(types.flag, False)
    #: Engine.IO transports that the server offers: ``websocket``, ``polling``.
    transports: tuple[str, ...] = _setting(types.listed, ("websocket",))
    #: Names (fnmatch wildcards allowed) of tasks that a client may enqueue.
    tasks: tuple[str, ...] = _setting(types.listed, ())
    #: Bytes of JSON that the arguments of one task may take when a job is enqueued.
    argument_bytes: int = _setting(types.count, 1024 * 1024)
    #: Modules with tasks that the shipped worker application loads.
    include: tuple[str, ...] = _setting(types.listed, ())
    #: Folders, as absolute paths, that the reference jobs may read; empty means none.
    input_roots: tuple[Path, ...] = _setting(types.roots, ())
    #: Folder, as an absolute path, below which the reference jobs write, each in a folder of its
    #: own; None means that they write nothing.
    output_root: Path | None = _setting(types.root, None)
    #: Databases that the job ``import_csv`` may fill: ``name=URL``, separated by commas, with URLs
    #: of SQLAlchemy.
    databases: tuple[tuple[str, str], ...] = _setting(types.databases, (), hidden=True)
    #: How far back a server that starts reads what it missed, which the broker keeps as long.
    replay: float = _setting(types.seconds, 3600.0)
    #: Bytes that the broker keeps for that at most; what is oldest goes first.
    stream_bytes: int = _setting(types.count, 512 * 1024 * 1024)
    #: How long a finished job is kept by a server.
    retention: float = _setting(types.seconds, 3600.0)
    #: Jobs that a server holds at most: in all, of which those that have ended go first, whatever
    #: their age, and of those that have not ended.
    journal_jobs: int = _setting(types.count, 10_000)
    journal_unfinished: int = _setting(types.count, 100_000)
    #: Bytes of events that a server holds at most; those of jobs that have ended go first.
    journal_bytes: int = _setting(types.count, 256 * 1024 * 1024)
    #: How long nothing may be heard of a running task before it is called stalled, and then lost.
    stalled_after: float = _setting(types.seconds, 15.0)
    lost_after: float = _setting(types.seconds, 60.0)
    #: How long a running job waits, once cancelled, before its process is terminated.
    cancel_grace: float = _setting(types.seconds, 10.0)
    #: How long a worker that is asked to stop lets running jobs go on before it hands them back.
    stop_grace: float = _setting(types.seconds, 10.0)
    #: Over how long a server that stops spreads the return of its clients.
    drain_spread: float = _setting(types.seconds, 2.0)
    #: Whether spans are sent by OpenTelemetry, as its own OTEL_* variables say; extra ``otel``.
    tracing: bool = _setting(types.flag, False)
    #: Form of a server's log: text, or json with an object a line.
    log_format: str = _setting(types.log_format, "text")
    #: Connections and requests that are open at most: in all, of one client's address (for IPv6,
    #: its network of 64 bits), and of one owner.
    max_connections: int = _setting(types.count, 10_000)
    max_connections_per_address: int = _setting(types.count, 500)
    max_connections_per_owner: int = _setting(types.count, 50)
    #: New connections, and requests of any kind, WebSockets too, of one client's address a second.
    connects_per_second: float = _setting(types.number, 100.0)
    #: How long a connection may take to show what it may do.
    connect_timeout: float = _setting(types.seconds, 5.0)
    #: Bytes of one message of a client at most, all its fragments together.
    max_message: int = _setting(types.count, 64 * 1024)
    #: Requests a second: of one connection, and of one owner.
    requests_per_second: float = _setting(types.number, 20.0)
    owner_requests_per_second: float = _setting(types.number, 100.0)
    #: Bytes of answers a second: of one connection, and of one owner. Four times as many may come
    #: at once, and then one answer of any size.
    answer_bytes_per_second: int = _setting(types.count, 2 * 1024 * 1024)
    owner_answer_bytes_per_second: int = _setting(types.count, 8 * 1024 * 1024)
    #: Jobs that one connection watches at most.
    max_watched: int = _setting(types.count, 1_000)
    #: What one owner's clients may enqueue a minute, and have unfinished at once.
    enqueues_per_minute: float = _setting(types.number, 60.0)
    max_unfinished: int = _setting(types.count, 100)
    #: Bytes that wait for a client that does not keep up (an eighth of it once it has taken nothing
    #: for half a second), and how long it may take none of them.
    max_backlog: int = _setting(types.count, 256 * 1024)
    slow_after: float = _setting(types.seconds, 10.0)
    #: Whether a server goes the ways that are quicker than those of the libraries below it.
    fast_path: bool = _setting(types.flag, True)
    #: Names (fnmatch wildcards allowed) of tasks whose arguments operators do not get to see.
    redact: tuple[str, ...] = _setting(types.listed, ())
    #: What is captured of an owner's jobs: bars of tqdm and rich, records of logging, and what is
    #: printed to stdout and stderr.
    capture: tuple[str, ...] = _setting(types.capture, ("tqdm", "rich", "logging"))
    #: Level below which records of logging are not captured.
    capture_level: int = _setting(types.level, logging.INFO)
    #: Whether a running task's progress is stored, once a second, as its result's info.
    store_progress: bool = _setting(types.flag, True)
    #: Whether a failed job's traceback travels to its watchers.
    show_tracebacks: bool = _setting(types.flag, False)

    def __post_init__(self) -> None:
        # A task may change the folder of its process, and the home must not move with it.
        with contextlib.suppress(OSError):  # that folder is gone; not everything needs a home
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
        parsers = {PREFIX + f.name.upper(): f for f in fields(cls)}
        source = _with_files(os.environ if environ is None else environ, parsers)
        values: dict[str, Any] = {}
        for name in sorted(key for key in source if key.startswith(PREFIX)):
            if name not in parsers:
                raise SettingsError(_unknown(name, list(parsers)))
            if source[name]:
                values[parsers[name].name] = _parse(name, source[name], parsers[name])
        settings = cls(**values)
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
        """URL of the broker on which events travel."""
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
            SettingsError: there is none.
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
        """Where clients reach the socket server."""
        if self.url:
            return self.url.rstrip("/")
        try:
            return (self.home / "url").read_text().strip()
        except OSError:
            host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
            return f"{'https' if self.certfile else 'http'}://{host}:{self.port}"

    def url_of(self, shard: int | None, path: str = "") -> str:
        """Return a URL at the socket server; a balancer tells by it to which shard it goes."""
        query = "" if shard is None or self.shards == 1 else f"?shard={shard}"
        return f"{self.server_url}{path}{query}"

    @property
    def socket_path(self) -> str:
        """Path of Socket.IO at the server: below that of its URL, where that has one."""
        return f"{urlsplit(self.server_url).path}/socket.io".strip("/")


def without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process that neither signs tokens nor verifies them."""
    keys = (f"{PREFIX}SECRET", f"{PREFIX}SECRET_FILE")
    return {name: value for name, value in environ.items() if name not in keys}


def _with_files(environ: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, str]:
    """Return variables, with what is in the files that some of them name."""
    values = dict(environ)
    for name, setting in known.items():
        file = values.pop(f"{name}_FILE", "") if not setting.repr else ""
        if not file:
            continue
        if values.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set: unset one of them")
        try:
            values[name] = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingsError(f"{name}_FILE={file} cannot be read: {reason}") from None
        if not values[name]:
            raise SettingsError(f"{name}_FILE={file} is empty")
    return values


def _parse(name: str, text: str, setting: Any) -> Any:
    try:
        return setting.metadata["parse"](text)
    except ValueError as error:
        reason = str(error)
        if reason.startswith(("invalid literal", "could not convert")):
            reason = "must be a number"
        # A secret's or a URL's own text never goes into a message that lands in a log.
        shown = f"={text!r}" if setting.repr else ""
        raise SettingsError(f"{name}{shown} {reason}") from None


def _unknown(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown setting {name}: {hint}"
