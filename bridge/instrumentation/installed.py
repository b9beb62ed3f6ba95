"""The settings that ``bridge.install`` was called with: those of all tracked tasks of a process."""

from __future__ import annotations

from bridge.settings import Settings

__all__ = ["replace_settings", "settings", "settings_or_none"]

_settings: Settings | None = None


def settings() -> Settings:
    """Return them, in a process with an installed application."""
    assert _settings is not None, "bridge.install(app) was not called"
    return _settings


def settings_or_none() -> Settings | None:
    """Return them; None if no application is installed in this process."""
    return _settings


def replace_settings(new: Settings | None) -> Settings | None:
    """Make ``new`` the settings, and return those before."""
    global _settings
    before, _settings = _settings, new
    return before
