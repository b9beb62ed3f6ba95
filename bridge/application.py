"""``install``: makes the jobs of a Celery application watchable, and durable where it asks."""

from __future__ import annotations

from bridge.durable.durability import Durability
from bridge.errors import SettingsError
from bridge.instrumentation import installed, worker_signals
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = ["install"]


def install(
    app: CeleryApp, settings: Settings | None = None, *, durable: bool | Durability = False
) -> None:
    """Make the jobs of a Celery application watchable. A second call replaces the settings.

    Args:
        app: the Celery application. Where the settings name no broker or no result backend, those
            of the application are used, as it has them at the first use.
        settings: default ``Settings.from_environ()``.
        durable: whether its tasks survive a dead process, worker or connection, and run once, as
            those of the shipped worker; a :class:`Durability` has the parts. Default False: nothing
            of it is changed.

    Raises:
        SettingsError: a ``TASKBRIDGE_*`` variable is wrong, or an argument is of another type.
    """
    installed.check_application(app)
    if not isinstance(durable, bool | Durability):
        kind = type(durable).__name__
        raise SettingsError(f"durable must be True, False or a bridge.Durability, not {kind}")
    told = settings or Settings.from_environ()
    worker_signals.install(app, told)
    if durable:
        from bridge.durable import installation

        installation.install(app, Durability() if durable is True else durable, told)
