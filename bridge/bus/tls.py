"""TLS to brokers: options for each library, and explanations of TLS errors.

Certificates are verified, and must name the host of the URL, unless the URL says otherwise.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from bridge.settings import Settings, broker_url

__all__ = ["TLSOptions", "Target", "chain", "explain", "refused", "target"]

#: OpenSSL's error codes of refused certificates.
EXPIRED, EARLY = (10,), (9,)
NAMELESS = (62, 64)
UNKNOWN = (18, 19, 20, 21)

CLIENT = (
    "it wants a client certificate that it knows: set TASKBRIDGE_BROKER_CERTFILE and "
    "TASKBRIDGE_BROKER_KEYFILE"
)
NO_TLS = "no TLS is spoken at this port: correct the port, or the scheme, of the broker's URL"
OLD_TLS = "the broker speaks no TLS of version 1.2 or later: switch it on there"
#: Explanations of OpenSSL's reasons, by a part of the reason.
ALERTS = {
    "PROTOCOL_VERSION": OLD_TLS,
    "UNSUPPORTED_PROTOCOL": OLD_TLS,
    "INSUFFICIENT_SECURITY": OLD_TLS,  # Erlang 27 and later
    "WRONG_VERSION": NO_TLS,
    "RECORD_LAYER": NO_TLS,
    "UNKNOWN_PROTOCOL": NO_TLS,
    "ALERT": f"the broker refuses this client: {CLIENT}",
}

#: Options of py-amqp or redis-py.
TLSOptions: TypeAlias = dict[str, str | bool | ssl.VerifyMode | None]


class Target(NamedTuple):
    """URL and TLS options with which a library connects."""

    #: URL without TLS parameters.
    url: str
    #: Options of py-amqp or redis-py, by the URL's scheme; None without TLS.
    ssl: TLSOptions | None


def target(settings: Settings, url: str) -> Target:
    """Return the target for the URL of a broker or of a result backend.

    Args:
        settings: TLS files that the URL does not name.
        url: ``settings.broker``, ``settings.events`` or ``settings.results``.
    """
    if not url.startswith(tuple(f"{scheme}:" for scheme in broker_url.ENCRYPTED)):
        return Target(url, None)
    parsed = broker_url.parse(url)
    files = {
        "ca_certs": settings.broker_cafile,
        "certfile": settings.broker_certfile,
        "keyfile": settings.broker_keyfile,
    }
    if "ssl_certfile" in parsed.files:  # its key is beside it, or in it
        del files["certfile"], files["keyfile"]
    paths = {name: str(path) for name, path in files.items() if path}
    paths |= {name.removeprefix("ssl_"): path for name, path in parsed.files.items()}
    make = _amqp if parsed.scheme == "amqps" else _redis
    return Target(parsed.text, make(parsed, paths))


def _amqp(parsed: broker_url.BrokerURL, paths: dict[str, str]) -> TLSOptions:
    options: TLSOptions = {**paths, "cert_reqs": _requirement(parsed)}
    # py-amqp checks the certificate for this name, which `bridge.bus.connection` fills in.
    return {**options, "server_hostname": None} if parsed.check_hostname else options


def _redis(parsed: broker_url.BrokerURL, paths: dict[str, str]) -> TLSOptions:
    return {
        **{f"ssl_{name}": path for name, path in paths.items()},
        "ssl_cert_reqs": _requirement(parsed),
        "ssl_check_hostname": parsed.check_hostname,
    }


def _requirement(parsed: broker_url.BrokerURL) -> ssl.VerifyMode:
    return ssl.CERT_REQUIRED if parsed.verify else ssl.CERT_NONE


def explain(error: BaseException) -> str:
    """Return an explanation of a connection error: for TLS, a sentence on what to change."""
    return next(filter(None, map(_explain, chain(error))), str(error))


def refused(error: BaseException) -> bool:
    """Whether an error means that a broker answers, but TLS with it fails."""
    return any(_explain(one) for one in chain(error))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from."""
    # redis-py and kombu wrap errors, some of them with `from` and some without.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error)
    if not isinstance(error, ssl.SSLError):
        return None
    if isinstance(error, ssl.SSLEOFError):
        # With TLS 1.3 a broker closes after the handshake, and its alert may come too late.
        return f"the broker closed the connection: if it does so each time, {CLIENT}"
    reason = error.reason or ""
    return next((text for part, text in ALERTS.items() if part in reason), None)


def _explain_certificate(error: ssl.SSLCertVerificationError) -> str:
    code, said = error.verify_code, error.verify_message
    if code in EXPIRED:
        return "the broker's certificate has expired: renew it at the broker"
    if code in EARLY:
        return "the broker's certificate is not valid yet: correct this machine's clock"
    if code in NAMELESS:
        return f"{said.rstrip('.')}: use a host in the broker's URL that its certificate names"
    if code in UNKNOWN:
        return (
            "the broker's certificate is signed by an authority that is not known here: set "
            f"TASKBRIDGE_BROKER_CAFILE ({said})"
        )
    return f"the broker's certificate cannot be used: {said}"
