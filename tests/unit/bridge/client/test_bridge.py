"""What is said of an argument of a wrong type, by each call of the public interface."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from types import ModuleType

import pytest
from celery import Celery

import bridge
from bridge import Bridge, EnqueueError, Grant, JobNotFound, Settings, SettingsError
from bridge.testing import MemoryBridge

KEY = "k" * 40
#: What a service has in its hands, where an identifier is needed.
KEYS = [7, uuid.UUID(int=1)]
OWNERS = {
    "enqueue": (EnqueueError, lambda one, key: one.enqueue("shop.add", owner=key)),
    "owner": (EnqueueError, lambda one, key: one.owner(key).__enter__()),
    "push": (EnqueueError, lambda one, key: one.push("notice", owner=key)),
    "token": (SettingsError, lambda one, key: one.token(owner=key)),
    "shard": (SettingsError, lambda one, key: one.shard(key)),
    "Grant": (SettingsError, lambda one, key: Grant(owner=key)),
}
IDS = {
    "status": (JobNotFound, lambda one, key: one.status(key)),
    "watch": (JobNotFound, lambda one, key: one.watch(key)),
    "awatch": (JobNotFound, lambda one, key: one.awatch(key)),
    "cancel": (JobNotFound, lambda one, key: one.cancel(key)),
    "request_cancel": (JobNotFound, lambda one, key: one.request_cancel(key)),
    "push": (EnqueueError, lambda one, key: one.push("notice", job=key)),
}


@pytest.fixture(params=["a bridge", "a bridge of tests"])
def one(request):
    """A bridge."""
    if request.param == "a bridge":
        return Bridge(settings=Settings(secret=(KEY,)))
    return MemoryBridge(Celery("shop", set_as_current=False))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("call", OWNERS)
def test_an_owner_that_is_no_string_is_refused_with_what_to_pass(one, call, key):
    error, called = OWNERS[call]
    told = f"an owner must be a string of 1 to 255 characters, not {type(key).__name__}: pass str"
    with pytest.raises(error, match=told):
        called(one, key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("call", IDS)
def test_an_id_that_is_no_string_is_refused_with_what_to_pass(one, call, key):
    error, called = IDS[call]
    with pytest.raises(error, match="a job's id must be a string of 1 to 255 characters, not"):
        called(one, key)


@pytest.mark.parametrize("given", [{"args": 7}, {"args": "12"}, {"kwargs": 7}, {"kwargs": ["ab"]}])
def test_arguments_of_a_task_that_are_no_list_or_no_object_are_refused(one, given):
    with pytest.raises(EnqueueError, match="args must be a list, kwargs an object with names"):
        one.enqueue("shop.add", **given)


@pytest.mark.parametrize("webhook", ["", "-a", "a b", "ä", "a" * 64, 7, b"a"])
def test_a_name_that_no_webhook_has_is_refused(one, webhook):
    with pytest.raises(EnqueueError, match="a webhook is named by 1 to 63 letters, digits"):
        one.enqueue("shop.add", webhook=webhook)


@pytest.mark.parametrize("name", ["broker_url", "secret"])
def test_a_setting_in_bytes_is_refused(name):
    with pytest.raises(SettingsError, match=f"{name} must be a string, not bytes"):
        Bridge(**{name: b"amqp://h"})


@pytest.mark.parametrize("app", ["shop", bridge])
def test_what_is_no_celery_application_is_refused(app):
    kind = "module" if isinstance(app, ModuleType) else "str"
    told = rf"app must be a Celery application, as Celery\(...\) makes it, not {kind}"
    for call in (lambda: bridge.install(app), lambda: Bridge(app=app)):
        with pytest.raises(SettingsError, match=told):
            call()


def test_durable_is_a_truth_value_or_its_parts():
    told = "durable must be True, False or a bridge.Durability, not str"
    with pytest.raises(SettingsError, match=told):
        bridge.install(Celery("shop", set_as_current=False), durable="yes")


def test_a_service_that_only_enqueues_imports_nothing_that_it_does_not_need():
    program = "import sys; from bridge import Bridge; Bridge(); print(*sys.modules)"
    environ = {**os.environ, "TASKBRIDGE_SECRET": KEY}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert not {"asyncio", "aiohttp", "socketio", "urllib.request"} & set(done.stdout.split())
