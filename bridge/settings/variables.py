"""Reads the variables ``TASKBRIDGE_*``, and the files that ``TASKBRIDGE_*_FILE`` name."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, TypeAlias

from bridge.errors import SettingsError

__all__ = ["PREFIX", "converted", "read", "without_keys"]

logger = logging.getLogger(__name__)

PREFIX = "TASKBRIDGE_"

#: Variables, as ``NAME=value``, that Kubernetes sets in containers for a Service whose name is
#: taskbridge, or begins with taskbridge-.
INJECTED = re.compile(
    rf"{PREFIX}(\w+_)?("
    r"SERVICE_HOST=[\da-f.:]+|SERVICE_PORT(_\w+)?=\d+|PORT(_\d+_[A-Z]+)?=(tcp|udp|sctp)://\S+"
    r"|PORT_\d+_[A-Z]+_(PROTO=(tcp|udp|sctp)|PORT=\d+|ADDR=[\da-f.:]+))",
    re.ASCII,
)

#: A field of ``Settings``: ``metadata["parse"]`` reads its text, and a value that may contain a
#: secret has ``repr`` False.
Setting: TypeAlias = "Field[Any]"


def read(environ: Mapping[str, str], settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the values of the settings that have a variable, by the names of the fields.

    Args:
        environ: variables to read; an empty value counts as unset, and so does a variable that
            Kubernetes sets for a Service.
        settings: fields of ``Settings``.

    Raises:
        SettingsError: a ``TASKBRIDGE_*`` variable is unknown, its value cannot work, or the file
            that it names cannot be read.
    """
    known = {PREFIX + one.name.upper(): one for one in settings}
    source = _with_files(_without_injected(environ), known)
    values: dict[str, Any] = {}
    for name in sorted(key for key in source if key.startswith(PREFIX)):
        if name not in known:
            raise SettingsError(_unknown(name, list(known)))
        if source[name]:
            values[known[name].name] = _parse(name, source[name], known[name])
    return values


def _without_injected(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that Kubernetes sets for Services; they are logged, once."""
    named = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    injected = {name for name, value in named.items() if INJECTED.fullmatch(f"{name}={value}")}
    if injected:
        _note_injected(frozenset(injected))
    return {name: value for name, value in named.items() if name not in injected}


@functools.cache
def _note_injected(names: frozenset[str]) -> None:
    logger.info(
        "taskbridge: variables that Kubernetes sets for Services are no settings, and are ignored: "
        "%s (enableServiceLinks: false in the pod leaves them out)",
        ", ".join(sorted(names)),
    )


def without_keys(environ: Mapping[str, str], *, webhooks: bool = False) -> dict[str, str]:
    """Return variables without keys, for a process that neither signs nor verifies with them.

    Args:
        environ: variables.
        webhooks: whether webhooks and their secrets are kept, as the archive needs them; token keys
            never are.
    """
    hidden = ("SECRET",) if webhooks else ("SECRET", "WEBHOOKS", "WEBHOOK_SECRETS")
    keys = {f"{PREFIX}{name}{end}" for name in hidden for end in ("", "_FILE")}
    return {name: value for name, value in environ.items() if name not in keys}


def _with_files(environ: Mapping[str, str], known: Mapping[str, Setting]) -> dict[str, str]:
    """Return variables, each ``NAME_FILE`` replaced by ``NAME`` with the content of the file."""
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


def converted(value: object, setting: Setting) -> object:
    """Return a value from Python in the type of its field.

    Args:
        value: value of the field; a string for a field of another type is parsed as the variable
            is, and a list or a set becomes a tuple.
        setting: the field.

    Raises:
        SettingsError: the string cannot be parsed.
    """
    if isinstance(value, list | set | frozenset):
        return tuple(value)
    if isinstance(value, str) and not str(setting.type).startswith("str"):
        return _parse(PREFIX + setting.name.upper(), value, setting)
    return value


def _parse(name: str, text: str, setting: Setting) -> object:
    try:
        return setting.metadata["parse"](text)
    except ValueError as error:
        reason = str(error)
        if reason.startswith(("invalid literal", "could not convert")):
            reason = "must be a number"
        # The message may land in a log, so it never quotes a value that may contain a password.
        shown = f"={text!r}" if setting.repr else ""
        raise SettingsError(f"{name}{shown} {reason}") from None


def _unknown(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    return f"unknown setting {name}: {hint}"
