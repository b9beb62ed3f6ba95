"""The application that a worker's arguments name, and the command that runs it."""

from __future__ import annotations

import pytest

from bridge import Settings, SettingsError
from bridge.cli.programs.worker import split_app, worker_command


@pytest.mark.parametrize(
    ("arguments", "app", "rest"),
    [
        ([], "workers.app", []),
        (["-c", "4", "-lWARNING", "-Q", "A"], "workers.app", ["-c", "4", "-lWARNING", "-Q", "A"]),
        (["--app", "shop", "-c", "4"], "shop", ["-c", "4"]),
        (["-c", "4", "--app=shop:app"], "shop:app", ["-c", "4"]),
        (["-A", "shop.celery"], "shop.celery", []),
        (["-Ashop"], "shop", []),
    ],
)
def test_the_application_is_taken_out_of_the_arguments_of_celery(arguments, app, rest):
    assert split_app(arguments) == (app, rest)


@pytest.mark.parametrize("arguments", [["--app"], ["-A"], ["--app="]])
def test_an_option_without_an_application_is_wrong(arguments):
    with pytest.raises(SettingsError, match="--app needs the module of a Celery application"):
        split_app(arguments)


def test_a_worker_is_without_mingle_only_where_its_broker_is_known_to_be_embedded():
    embedded, remote = Settings(), Settings(broker_url="amqp://h")
    assert "--without-mingle" in worker_command(embedded, "workers.app")
    assert "--without-mingle" not in worker_command(embedded, "shop", alone=False)
    assert "--without-mingle" not in worker_command(remote, "workers.app")
