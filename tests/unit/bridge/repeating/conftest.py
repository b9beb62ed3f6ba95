"""Result backends that keep the reservations of idempotency keys."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
def url(request, tmp_path):
    """URL of a result backend of each kind that can reserve."""
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        return f"db+postgresql+psycopg://{server}/taskbridge"
    return f"db+sqlite:///{tmp_path}/r.sqlite"
