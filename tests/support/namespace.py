"""A host of its own, in a network namespace, which can be lost without a word."""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest

from support.tools import need

__all__ = ["Namespace"]

#: Address of the other host's network card, and another one.
CARD, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
_numbers = itertools.count()


class Namespace:
    """A host that a cable of its own connects to this one; without root, the test is skipped.

    Its programs reach this host at :attr:`here`.
    """

    def __init__(self) -> None:
        number = next(_numbers)
        self._name = f"taskbridge-{os.getpid()}-{number}"
        self._cable = f"tb{os.getpid()}.{number}"
        # Of the networks for benchmarks (RFC 2544).
        subnet, first = f"198.18.{os.getpid() % 250}", 4 * (number % 60)
        self.here, self._there = f"{subnet}.{first + 1}", f"{subnet}.{first + 2}"

    def __enter__(self) -> Namespace:
        if os.geteuid() != 0:
            pytest.skip("a network namespace needs root")
        self._ip("netns", "add", self._name)
        self._ip("link", "add", self._cable, "type", "veth", "peer", "eth0", "netns", self._name)
        self._ip("addr", "add", f"{self.here}/30", "dev", self._cable)
        self._ip("link", "set", self._cable, "up")
        self._ip("-n", self._name, "addr", "add", f"{self._there}/30", "dev", "eth0")
        self._ip("-n", self._name, "link", "set", "eth0", "address", CARD, "up")
        self._ip("neigh", "replace", self._there, "lladdr", CARD, "dev", self._cable)
        return self

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a program on the other host."""
        return [need("ip"), "netns", "exec", self._name, *command]

    def lose(self) -> None:
        """Let no packet reach the other host any more, without a reset to either."""
        # It drops what is addressed to another network card.
        self._ip("-n", self._name, "link", "set", "eth0", "address", OTHER)

    def _ip(self, *arguments: str) -> None:
        subprocess.run([need("ip"), *arguments], check=True, capture_output=True, timeout=10)

    def __exit__(self, *_: object) -> None:
        self._ip("link", "del", self._cable)
        self._ip("netns", "del", self._name)
