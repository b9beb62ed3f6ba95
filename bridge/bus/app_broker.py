"""Takes broker and result backend of a Celery application where no setting names them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from bridge.settings import Settings, broker_url
from bridge.untyped import CeleryApp

__all__ = ["Found", "settings_with_app"]

#: Encrypted schemes by the plain ones, for an application that names TLS options beside its URL.
ENCRYPTED = {"amqp": "amqps", "pyamqp": "amqps", "redis": "rediss"}
#: TLS options of kombu that a URL can have too; without ``ssl_``, as for AMQP.
TLS_OPTIONS = ("ca_certs", "certfile", "keyfile", "cert_reqs", "check_hostname")


class Found(NamedTuple):
    """Settings, and why the application's broker is not in them."""

    settings: Settings
    #: Sentence for a log; empty if the settings name a broker, or the application names none.
    problem: str = ""


def settings_with_app(settings: Settings, app: CeleryApp) -> Found:
    """Return settings with broker and result backend of an application where they name none.

    Reads the application's configuration, so call it when that is complete.

    Args:
        settings: settings; what they name stays.
        app: Celery application.
    """
    conf, problem = app.conf, ""
    if settings.result_url is None and (results := _results(conf)):
        settings = settings.replace(result_url=results)
    if settings.broker_url is None and (url := conf.broker_write_url):
        try:
            text = _url(url, conf.broker_use_ssl, settings, conf.broker_login_method)
            settings = settings.replace(broker_url=text)
        except ValueError as error:
            problem = (
                f"the application's broker cannot carry events: its URL {error}; "
                "set TASKBRIDGE_BROKER_URL to one that can"
            )
    return Found(settings, problem)


def _url(urls: object, tls: object, settings: Settings, login_method: str | None = None) -> str:
    """Return URLs of a broker as a setting has them.

    Args:
        urls: one URL, several separated by semicolons, or a list.
        tls: Celery's ``broker_use_ssl``.
        settings: settings whose TLS files stay.
        login_method: Celery's ``broker_login_method``.

    Raises:
        ValueError: such a broker cannot be used.
    """
    each = urls.split(";") if isinstance(urls, str) else [str(url) for url in _listed(urls)]
    text = ";".join(_one(url.strip(), tls, settings, login_method) for url in each)
    broker_url.check_files(broker_url.parse(text).files)
    return text


def _listed(urls: object) -> list[object] | tuple[object, ...]:
    if not isinstance(urls, list | tuple):
        raise ValueError("must be text, or a list of texts")
    return urls


def _one(url: str, tls: object, settings: Settings, login_method: str | None) -> str:
    if "://" not in url:  # kombu takes it for a host of RabbitMQ
        url = f"amqp://{url}"
    scheme, _, rest = url.partition("://")
    parameters = {}
    if login_method and scheme in broker_url.AMQP and "login_method=" not in rest:
        parameters["login_method"] = login_method
    if tls:
        scheme = ENCRYPTED.get(scheme, scheme)
        parameters |= _tls(tls, rest, settings)
    joint = "&" if "?" in rest else "?"
    return f"{scheme}://{rest}" + (f"{joint}{urlencode(parameters)}" if parameters else "")


def _tls(tls: object, rest: str, settings: Settings) -> dict[str, str]:
    """Return TLS options as parameters of a URL that has none of them yet."""
    if not isinstance(tls, Mapping):
        return {}
    options = {str(name).removeprefix("ssl_"): value for name, value in tls.items()}
    kept = {"ca_certs": settings.broker_cafile}
    if settings.broker_certfile:
        kept |= {"certfile": settings.broker_certfile, "keyfile": settings.broker_certfile}
    return {
        f"ssl_{name}": _text(options[name])
        for name in TLS_OPTIONS
        if options.get(name) is not None and not kept.get(name) and f"ssl_{name}=" not in rest
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ssl.VerifyMode(value).name if isinstance(value, int) else str(value)


def _results(conf: Mapping[str, object]) -> str | None:
    """Return the URL of an application's result backend; None if no setting can have it."""
    url = conf.result_backend  # type: ignore[attr-defined]
    if not isinstance(url, str) or not url.startswith(("redis:", "rediss:")):
        return url if isinstance(url, str) else None
    try:
        return _url(url, conf.redis_backend_use_ssl, Settings())  # type: ignore[attr-defined]
    except ValueError:
        return None
