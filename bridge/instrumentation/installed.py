"""The settings that ``bridge.install`` was called with: those of all tracked tasks of a process.

What they do not name is taken from the application, at the first use: an application is installed
where it is made, before it is configured.
"""

from __future__ import annotations

from bridge.errors import SettingsError
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = [
    "announce",
    "check_application",
    "given_broker",
    "replace_settings",
    "settings",
    "settings_or_none",
    "with_application",
]

_settings: Settings | None = None
#: The application whose broker the settings may lack; None once it was looked up.
_unread: CeleryApp | None = None
#: The installed application.
_app: CeleryApp | None = None
_problem = ""
_given_broker: str | None = None


def settings() -> Settings:
    """Return them, in a process with an installed application."""
    found = settings_or_none()
    assert found is not None, "bridge.install(app) was not called"
    return found


def settings_or_none() -> Settings | None:
    """Return them; None if no application is installed in this process."""
    global _settings, _unread, _problem
    if (app := _unread) is not None and _settings is not None:
        from bridge.bus.app_broker import settings_with_app

        # Two threads that do this at once find the same.
        _settings, _problem = settings_with_app(_settings, app)
        _unread = None
    return _settings


def replace_settings(new: Settings | None, app: CeleryApp | None = None) -> Settings | None:
    """Make ``new`` the settings, and return those before.

    Args:
        new: settings; None for none.
        app: application whose broker and result backend are used where ``new`` names none.
    """
    global _settings, _app, _unread, _given_broker
    before, _settings = _settings, new
    _given_broker = new.broker_url if new else None
    _app = _unread = app
    return before


def given_broker() -> str | None:
    """Return the broker that the settings themselves name; None if they name none."""
    return _given_broker


def check_application(app: object) -> None:
    """Check that something is a Celery application.

    Raises:
        SettingsError: it is something else.
    """
    if not (hasattr(app, "steps") and hasattr(app, "conf")):
        found = type(app).__name__
        told = f"app must be a Celery application, as Celery(...) makes it, not {found}"
        raise SettingsError(told)


def with_application(given: Settings) -> Settings:
    """Return settings with broker and result backend of the installed application, if any."""
    if _app is None:
        return given
    from bridge.bus.app_broker import settings_with_app

    return settings_with_app(given, _app).settings


def announce() -> None:
    """Log to which broker events go, and warn if no server listens there; in a worker."""
    from bridge.bus import audience

    audience.announce(settings(), _problem)
