"""taskbridge: watch long Celery jobs live.

A service: ``Bridge``. A task: ``job``, ``progress``. A Celery application: ``install``.

Everything is imported on first use, so that ``import bridge`` costs a service next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.application import install as install
    from bridge.client.asynchronous.watcher import AsyncWatcher as AsyncWatcher
    from bridge.client.bridge import Bridge as Bridge
    from bridge.client.bridge import Job as Job
    from bridge.client.watcher import Watcher as Watcher
    from bridge.durable.durability import Durability as Durability
    from bridge.errors import BrokerUnavailable as BrokerUnavailable
    from bridge.errors import EnqueueError as EnqueueError
    from bridge.errors import EventError as EventError
    from bridge.errors import InputError as InputError
    from bridge.errors import JobCancelled as JobCancelled
    from bridge.errors import JobEnded as JobEnded
    from bridge.errors import JobFailed as JobFailed
    from bridge.errors import JobNotFound as JobNotFound
    from bridge.errors import QueueUnavailable as QueueUnavailable
    from bridge.errors import ResultsUnavailable as ResultsUnavailable
    from bridge.errors import ServerUnavailable as ServerUnavailable
    from bridge.errors import SettingsError as SettingsError
    from bridge.errors import TaskbridgeError as TaskbridgeError
    from bridge.errors import TokenError as TokenError
    from bridge.errors import WrongShard as WrongShard
    from bridge.protocol.json_types import BarData as BarData
    from bridge.protocol.json_types import Expectation as Expectation
    from bridge.protocol.json_types import JobEvent as JobEvent
    from bridge.protocol.json_types import JobFailure as JobFailure
    from bridge.protocol.json_types import JobState as JobState
    from bridge.protocol.json_types import LogLine as LogLine
    from bridge.protocol.json_types import QueuePlace as QueuePlace
    from bridge.protocol.json_types import SnapshotData as SnapshotData
    from bridge.protocol.json_types import StepData as StepData
    from bridge.protocol.json_types import TaskData as TaskData
    from bridge.reporting.progress import progress as progress
    from bridge.reporting.progress import progress_range as progress_range
    from bridge.reporting.resumable_job import job as job
    from bridge.settings import Settings as Settings
    from bridge.tokens import Grant as Grant

#: Where each public name is.
_HOMES = {
    # A service
    "Bridge": "client.bridge",
    "Job": "client.bridge",
    "Grant": "tokens",
    "Settings": "settings",
    "Watcher": "client.watcher",
    "AsyncWatcher": "client.asynchronous.watcher",
    # A task
    "job": "reporting.resumable_job",
    "progress": "reporting.progress",
    "progress_range": "reporting.progress",
    # A Celery application
    "install": "application",
    "Durability": "durable.durability",
    # What a client gets
    "BarData": "protocol.json_types",
    "Expectation": "protocol.json_types",
    "JobEvent": "protocol.json_types",
    "JobFailure": "protocol.json_types",
    "JobState": "protocol.json_types",
    "LogLine": "protocol.json_types",
    "QueuePlace": "protocol.json_types",
    "SnapshotData": "protocol.json_types",
    "StepData": "protocol.json_types",
    "TaskData": "protocol.json_types",
    # Errors
    "BrokerUnavailable": "errors",
    "EnqueueError": "errors",
    "EventError": "errors",
    "InputError": "errors",
    "JobCancelled": "errors",
    "JobEnded": "errors",
    "JobFailed": "errors",
    "JobNotFound": "errors",
    "QueueUnavailable": "errors",
    "ResultsUnavailable": "errors",
    "ServerUnavailable": "errors",
    "SettingsError": "errors",
    "TaskbridgeError": "errors",
    "TokenError": "errors",
    "WrongShard": "errors",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
