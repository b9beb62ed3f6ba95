"""Parses broker URLs and their TLS parameters.

The parameters are those of kombu and redis-py: ``ssl_ca_certs``, ``ssl_certfile``,
``ssl_keyfile``, ``ssl_cert_reqs`` and ``ssl_check_hostname``. Functions raise ``ValueError`` with
the end of a sentence, which never quotes a URL, since it may contain a password.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

__all__ = [
    "SCHEMES",
    "BrokerURL",
    "check_authorities",
    "check_files",
    "check_pair",
    "parse",
    "shown",
]

SCHEMES = ("amqp", "amqps", "pyamqp", "redis", "rediss", "embedded", "memory")
#: Schemes of connections that are encrypted.
ENCRYPTED = ("amqps", "rediss")
AMQP = ("amqp", "amqps", "pyamqp")
#: Parameters that kombu accepts as text in an AMQP URL. Others, such as ``ssl``, fail deep in
#: kombu, or enable TLS that verifies nothing.
AMQP_PARAMETERS = ("heartbeat", "login_method")
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Allowed values of the other TLS parameters, and whether each enables verification.
SWITCHES = {
    "ssl_cert_reqs": {
        **dict.fromkeys(("required", "optional", "CERT_REQUIRED", "CERT_OPTIONAL"), True),
        **dict.fromkeys(("none", "CERT_NONE"), False),
    },
    "ssl_check_hostname": {"true": True, "false": False},
}


class BrokerURL(NamedTuple):
    """One or several parsed URLs of a broker."""

    #: The URLs, separated by semicolons, without their TLS parameters.
    text: str
    #: Scheme of the first URL.
    scheme: str
    #: Paths of TLS files by parameter name, such as ``ssl_ca_certs``.
    files: dict[str, str]
    #: Whether the broker's certificate is verified, and whether it must name the URL's host.
    verify: bool = True
    check_hostname: bool = True

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme in ENCRYPTED


def parse(text: str) -> BrokerURL:
    """Parse the value of a broker setting: one URL, or several separated by semicolons.

    Raises:
        ValueError: a scheme or a parameter cannot be used, or the URLs differ in TLS.
    """
    found = [_parse_one(one) for one in text.split(";")]
    schemes, told = [one[1] for one in found], [one[2] for one in found]
    if len({scheme in ENCRYPTED for scheme in schemes}) > 1:
        raise ValueError("must have TLS in all of its URLs, or in none")
    if any(parameters != told[0] for parameters in told):
        raise ValueError("must have the same ssl_ parameters in all of its URLs")
    switches = {name: SWITCHES[name][value] for name, value in told[0].items() if name in SWITCHES}
    verify = switches.get("ssl_cert_reqs", True)
    return BrokerURL(
        ";".join(one[0] for one in found),
        schemes[0],
        {name: value for name, value in told[0].items() if name in FILES},
        verify,
        verify and switches.get("ssl_check_hostname", True),
    )


def _parse_one(text: str) -> tuple[str, str, dict[str, str]]:
    """Return a URL without its TLS parameters, its scheme, and its TLS parameters."""
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError(f"must start with one of {', '.join(s + '://' for s in SCHEMES)}")
    base, _, query = text.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    told = {name: parameters.pop(name) for name in list(parameters) if name.startswith("ssl_")}
    _check_parameters(scheme, parameters, told)
    return (f"{base}?{urlencode(parameters)}" if parameters else base), scheme, told


def _check_parameters(scheme: str, others: dict[str, str], told: dict[str, str]) -> None:
    known = (*FILES, *SWITCHES)
    if told and scheme not in ENCRYPTED:
        raise ValueError(f"has {next(iter(told))}, which needs amqps:// or rediss://")
    unknown = [name for name in told if name not in known]
    if scheme in AMQP:
        unknown += [name for name in others if name not in AMQP_PARAMETERS]
    if unknown:
        named = ", ".join((*AMQP_PARAMETERS, *known))
        raise ValueError(f"may have the parameters {named}; not {unknown[0]!r}")
    for name, values in SWITCHES.items():
        if name in told and told[name] not in values:
            raise ValueError(f"may have {name}={' or '.join(values)}")


def shown(text: str) -> str:
    """Return the URLs of a setting without their passwords."""
    from kombu.utils.url import sanitize_url

    return ";".join(sanitize_url(one) for one in text.split(";"))


def check_files(files: dict[str, str]) -> None:
    """Raise ``ValueError`` unless the TLS files of a URL can be used.

    Args:
        files: paths by parameter name; see ``BrokerURL``.
    """
    authorities, certificate, key = (files.get(name) for name in FILES)
    if key and not certificate:
        raise ValueError("has ssl_keyfile, which needs ssl_certfile")
    try:
        if authorities is not None:
            name, file = "ssl_ca_certs", authorities
            check_authorities(file)
        if certificate is not None:
            name, file = "ssl_certfile", certificate
            check_pair(file, key)
    except ValueError as error:
        raise ValueError(f"has {name}={file}, which {error}") from None


def check_authorities(file: str) -> None:
    """Raise ``ValueError`` unless a file contains CA certificates in PEM."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError("must be a file of certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from None


def check_pair(certificate: str, key: str | None) -> None:
    """Raise ``ValueError`` unless a file contains a certificate, and ``key`` its private key.

    Args:
        certificate: path of a PEM file.
        key: path of a PEM file; None for the certificate's own file.
    """
    import ssl

    try:
        # An empty password, so that OpenSSL does not ask for one at the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError:
        raise ValueError(
            "must be a certificate in PEM with its own key, which has no password"
        ) from None
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from None
