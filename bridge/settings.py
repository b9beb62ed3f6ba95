"""All settings, from ``TASKBRIDGE_*`` variables, as one frozen value."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bridge.errors import SettingsError

__all__ = ["PREFIX", "Settings"]

PREFIX = "TASKBRIDGE_"

#: Bytes that a key needs for HS256 (RFC 7518, section 3.2: as long as the hash).
SECRET_BYTES = 32

#: What can be captured of code that knows nothing of taskbridge.
CAPTURES = ("tqdm", "rich", "logging", "stdout", "stderr")

BROKER_SCHEMES = ("amqp", "amqps", "pyamqp", "redis", "rediss", "embedded", "memory")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("must be a positive number of seconds")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 < value < 65536:
        raise ValueError("must be a port from 1 to 65535")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


def _flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("must be 0 or 1")
    return text.lower() in ("1", "true")


def _broker(text: str) -> str:
    scheme = text.partition("://")[0]
    if scheme not in BROKER_SCHEMES:
        raise ValueError(f"must start with one of {', '.join(s + '://' for s in BROKER_SCHEMES)}")
    return text


def _capture(text: str) -> tuple[str, ...]:
    kinds = () if text == "none" else _list(text)
    if unknown := [kind for kind in kinds if kind not in CAPTURES]:
        raise ValueError(f"may list {', '.join(CAPTURES)}, or be none; not {unknown[0]!r}")
    return kinds


def _level(text: str) -> int:
    level = logging.getLevelNamesMapping().get(text.upper())
    if level is None:
        raise ValueError("must be a level of logging: DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return level


def _secrets(text: str) -> tuple[str, ...]:
    keys = _list(text)
    if any(len(key.encode()) < SECRET_BYTES for key in keys):
        raise ValueError(
            f"has a key shorter than {SECRET_BYTES} bytes; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return keys


def _setting(parse: Callable[[str], Any], default: Any, *, hidden: bool = False) -> Any:
    return field(default=default, repr=not hidden, metadata={"parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every part of taskbridge is told from outside. Times are in seconds.

    Each field ``name`` is read from the variable ``TASKBRIDGE_NAME``. Secrets and URLs, which
    may carry passwords, are left out of ``repr``.
    """

    #: Folder of the embedded broker, the SQLite results and the generated secret.
    home: Path = _setting(Path, Path(".taskbridge"))
    #: Broker of tasks and events; None means the embedded broker in ``home``.
    broker_url: str | None = _setting(_broker, None, hidden=True)
    #: Celery's result backend; None means SQLite in ``home``.
    result_url: str | None = _setting(str, None, hidden=True)
    #: Keys of at least 32 bytes, separated by commas; the first signs, all verify.
    secret: tuple[str, ...] = _setting(_secrets, (), hidden=True)
    #: Name of the exchange on which events travel.
    channel: str = _setting(str, "taskbridge")
    #: Address that the socket server binds.
    host: str = _setting(str, "127.0.0.1")
    #: Port that the socket server binds.
    port: int = _setting(_port, 8000)
    #: A port of its own for /healthz, so that health answers when the main port is full.
    health_port: int | None = _setting(_port, None)
    #: Where clients reach the socket server; None means what ``taskbridge up`` noted, else
    #: http://host:port.
    url: str | None = _setting(str, None)
    #: Origins that a browser page may come from; empty means the server's own.
    origins: tuple[str, ...] = _setting(_list, ())
    #: Engine.IO transports that the server offers.
    transports: tuple[str, ...] = _setting(_list, ("websocket",))
    #: Names (fnmatch wildcards allowed) of tasks that a client may enqueue.
    tasks: tuple[str, ...] = _setting(_list, ())
    #: Modules with tasks that the shipped worker application loads.
    include: tuple[str, ...] = _setting(_list, ())
    #: How far back a server that starts reads what it missed, which the broker keeps as long.
    replay: float = _setting(_seconds, 3600.0)
    #: Bytes that the broker keeps for that at most; what is oldest goes first.
    stream_bytes: int = _setting(_count, 512 * 1024 * 1024)
    #: How long a finished job is kept by a server.
    retention: float = _setting(_seconds, 3600.0)
    #: How long nothing may be heard of a running task before it is called stalled, and then lost.
    stalled_after: float = _setting(_seconds, 15.0)
    lost_after: float = _setting(_seconds, 60.0)
    #: How long a running job waits, once cancelled, before its process is terminated.
    cancel_grace: float = _setting(_seconds, 10.0)
    #: How long a worker that is asked to stop lets running jobs go on before it hands them back.
    stop_grace: float = _setting(_seconds, 10.0)
    #: What is captured of an owner's jobs: bars of tqdm and rich, records of logging, and what is
    #: printed to stdout and stderr.
    capture: tuple[str, ...] = _setting(_capture, ("tqdm", "rich", "logging"))
    #: Level below which records of logging are not captured.
    capture_level: int = _setting(_level, logging.INFO)
    #: Whether a running task's progress is stored, once a second, as its result's info.
    store_progress: bool = _setting(_flag, True)
    #: Whether a failed job's traceback travels to its watchers.
    show_tracebacks: bool = _setting(_flag, False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environ: variables to read; default ``os.environ``. An empty value counts as unset.

        Raises:
            SettingsError: a ``TASKBRIDGE_*`` variable is unknown or its value cannot work.
        """
        source = os.environ if environ is None else environ
        parsers = {PREFIX + f.name.upper(): f for f in fields(cls)}
        values: dict[str, Any] = {}
        for name in sorted(key for key in source if key.startswith(PREFIX)):
            if name not in parsers:
                raise SettingsError(_unknown(name, list(parsers)))
            if source[name]:
                values[parsers[name].name] = _parse(name, source[name], parsers[name])
        settings = cls(**values)
        if settings.lost_after <= settings.stalled_after:
            raise SettingsError(
                f"TASKBRIDGE_LOST_AFTER={settings.lost_after:g} must be more than "
                f"TASKBRIDGE_STALLED_AFTER={settings.stalled_after:g}"
            )
        return settings

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed (already parsed values)."""
        return replace(self, **changes)

    @property
    def broker(self) -> str:
        """URL of the broker in use."""
        return self.broker_url or f"embedded://localhost{(self.home / 'broker').absolute()}"

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
            keys = _secrets((self.home / "secret").read_text().strip())
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
            return f"http://{host}:{self.port}"


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
