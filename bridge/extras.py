"""What the extras of an installation bring, and the sentence where something of it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from bridge.errors import SettingsError

__all__ = ["ASYNC_MODES", "NEEDS", "demand", "missing", "of_database", "of_urls"]

#: Libraries that `taskbridge serve` runs on, each a key of ``NEEDS``; the first is the default.
ASYNC_MODES = ("eventlet", "gevent")
#: What programs need: the extra that brings it, and the module of each distribution of that extra,
#: without those that are only sometimes used.
NEEDS = {
    "client": ("client", {"websocket-client": "websocket"}),
    "asyncio": ("asyncio", {"aiohttp": "aiohttp"}),
    "notebook": ("notebook", {"anywidget": "anywidget", "traitlets": "traitlets"}),
    "cli": ("cli", {"click": "click", "honcho": "honcho", "rich": "rich"}),
    "server": (
        "server",
        {
            "flask": "flask",
            "msgspec": "msgspec",
            "prometheus_client": "prometheus_client",
            "werkzeug": "werkzeug",
        },
    ),
    "eventlet": ("server", {"eventlet": "eventlet"}),
    "gevent": ("gevent", {"gevent": "gevent"}),
    "worker": ("worker", {"Pillow": "PIL", "SQLAlchemy": "sqlalchemy"}),
    "flower": ("flower", {"flower": "flower"}),
    "redis": ("redis", {"packaging": "packaging", "redis": "redis"}),
    "postgresql": ("postgresql", {"psycopg": "psycopg", "SQLAlchemy": "sqlalchemy"}),
    "archive": (
        "archive",
        {
            "alembic": "alembic",
            "msgspec": "msgspec",
            "prometheus_client": "prometheus_client",
            "SQLAlchemy": "sqlalchemy",
        },
    ),
    "sql": ("worker", {"SQLAlchemy": "sqlalchemy"}),
}
#: Needs by the beginning of a URL of a broker or a result backend; the first that fits.
SCHEMES = {"redis:": "redis", "rediss:": "redis", "db+postgresql": "postgresql", "db+": "sql"}


def of_urls(*urls: str) -> list[str]:
    """Return what brokers and result backends need, each once."""
    found = [
        next((need for begin, need in SCHEMES.items() if url.startswith(begin)), None)
        for url in urls
    ]
    return list(dict.fromkeys(need for need in found if need))


def of_database(url: str) -> list[str]:
    """Return what the database of an archive needs beside the archive itself."""
    return ["postgresql"] if url.startswith("postgresql") else []


def missing(*needs: str) -> str | None:
    """Return a sentence on what is not installed, and how to install it; None if nothing is.

    Args:
        needs: keys of ``NEEDS``.
    """
    lacking, extras = set(), []
    for extra, modules in map(NEEDS.__getitem__, needs):
        if absent := {name for name, module in modules.items() if find_spec(module) is None}:
            lacking |= absent
            extras.append(extra)
    if not lacking:
        return None
    verb = "is" if len(lacking) == 1 else "are"
    names, wanted = ", ".join(sorted(lacking, key=str.lower)), ",".join(dict.fromkeys(extras))
    return f'{names} {verb} not installed: pip install "celery-taskbridge[{wanted}]"'


def demand(*needs: str) -> None:
    """Check that something is installed.

    Args:
        needs: see :func:`missing`.

    Raises:
        SettingsError: something of it is missing.
    """
    if told := missing(*needs):
        raise SettingsError(told)
