"""Which broker the server inside an application reads, and what is said of it."""

from __future__ import annotations

import logging

import pytest

from bridge import Settings
from socket_server import create_app

KEY = ("a key that is long enough to sign with",)


@pytest.mark.parametrize(
    ("broker", "told"), [(None, True), ("redis://localhost:1", False)], ids=["embedded", "named"]
)
def test_a_server_that_reads_the_embedded_broker_says_how_it_reads_the_applications(
    tmp_path, caplog, broker, told
):
    settings = Settings(home=tmp_path, broker_url=broker, secret=KEY)
    with caplog.at_level(logging.WARNING, "socket_server"):
        create_app(settings)
    assert ("call bridge.install(app) before create_app" in caplog.text) is told
    assert (str(tmp_path) in caplog.text) is told
