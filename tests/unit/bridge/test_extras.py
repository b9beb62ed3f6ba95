"""What is said where an extra is not installed."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge import extras
from bridge.errors import SettingsError
from support.installed import PROJECT


@pytest.mark.parametrize(("extra", "modules"), extras.NEEDS.values(), ids=list(extras.NEEDS))
def test_what_is_looked_for_is_what_an_extra_brings(extra, modules):
    lines = PROJECT["optional-dependencies"][extra]
    brought = {canonicalize_name(Requirement(line).name) for line in lines}
    owners = packages_distributions()
    for name, module in modules.items():
        assert canonicalize_name(name) in brought
        assert canonicalize_name(name) in {canonicalize_name(one) for one in owners[module]}


def test_nothing_is_said_where_all_is_installed():
    assert extras.missing(*extras.NEEDS) is None
    extras.demand(*extras.NEEDS)


def test_one_command_installs_all_that_is_missing(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    told = extras.missing("worker", "sql", "redis")
    assert told == (
        "packaging, Pillow, redis, SQLAlchemy are not installed: "
        'pip install "celery-taskbridge[worker,redis]"'
    )
    with pytest.raises(
        SettingsError, match=re.escape('flower is not installed: pip install "celery-task')
    ):
        extras.demand("flower")


@pytest.mark.parametrize(
    ("urls", "needed"),
    [
        (("rediss://h/0", "redis://h"), ["redis"]),
        (("amqp://h", "db+sqlite:///x"), ["sql"]),
        (("db+postgresql+psycopg://h",), ["postgresql"]),
        (("embedded://", "disabled://", "rpc://"), []),
    ],
)
def test_a_url_says_what_it_needs(urls, needed):
    assert extras.of_urls(*urls) == needed
