"""The installed service, as commands ask for it."""

from __future__ import annotations

from pathlib import Path

from darkroom.rights import who
from darkroom.systemd.host import installed_unit
from darkroom.systemd.install import configuration_of, setting_of


def service_config() -> Path | None:
    """The configuration of the installed service, if it has one."""
    return configuration_of(installed_unit() or "")


def service_user() -> str | None:
    """Whom the installed service runs as, if there is one."""
    return setting_of(installed_unit() or "", "User") or None


def as_another() -> str | None:
    """The service's user, where somebody else looks."""
    user = service_user()
    return user if user not in (None, who()) else None
