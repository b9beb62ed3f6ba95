"""Certificates of an authority of the tests' own, made by openssl."""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from support.tools import need

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Certificate(NamedTuple):
    """Two files in PEM."""

    chain: Path
    key: Path


class Authority:
    """Signs certificates.

    Args:
        folder: where its files go.
        name: of the authority, and of its file.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name

    @cached_property
    def _own(self) -> Certificate:
        chain, key = self._folder / f"{self._name}.pem", self._folder / f"{self._name}.key"
        limits = ["-addext", "keyUsage=critical,keyCertSign", "-days", "2"]
        names = ["-subj", f"/CN={self._name}", "-keyout", key, "-out", chain]
        _openssl("req", "-x509", *NEW_KEY, *limits, *names)
        return Certificate(chain, key)

    @property
    def file(self) -> Path:
        """Its own certificate."""
        return self._own.chain

    def sign(self, name: str, *hosts: str, days: int = 2) -> Certificate:
        """Return a certificate, made when it is asked for first.

        Args:
            name: of its files.
            hosts: for which it is, as ``DNS:localhost`` or ``IP:127.0.0.1``.
            days: for which it is valid from now on; one that is negative makes it expired.
        """
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        asked, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        _openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        extensions.write_text(f"subjectAltName={','.join(hosts) or 'DNS:client'}\n")
        by = ["-CA", self._own.chain, "-CAkey", self._own.key, "-CAcreateserial"]
        limits = ["-days", str(days), "-extfile", extensions]
        _openssl("x509", "-req", "-in", asked, *by, *limits, "-out", chain)
        return Certificate(chain, key)


def _openssl(*arguments: str | Path) -> None:
    argv = [need("openssl"), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
