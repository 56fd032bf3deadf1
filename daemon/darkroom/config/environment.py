"""Keys that `DARKROOM_…` variables set. Imported where there are any: what reads them takes a tenth of a second."""

from __future__ import annotations

import re
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from darkroom.config.layers import ENV_PREFIX, Values
from darkroom.config.models import AsItStands
from darkroom.config.settings import Config


class _Environment(Config, BaseSettings):
    """The same keys, read from `DARKROOM_…`; a model's are `DARKROOM_MODELS__ALIAS__KEY`."""

    # Only its fields are read, never a value validated: what that takes need not be built.
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, defer_build=True
    )


class _Source(EnvSettingsSource):
    """Tables are JSON; what `as_several` reads is left to it."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """A value of several parts. Raises ValueError, which its caller tells."""
        if AsItStands in getattr(field, "metadata", ()):
            return value
        return super().decode_complex_value(field_name, field, value)


def read_environment() -> Values:
    """What the environment sets. Raises ValueError for what cannot be read."""
    try:
        return _Source(_Environment)()
    except (SettingsError, RecursionError) as error:
        field = re.search(r'field "(\w+)"', str(error))
        raise ValueError(f"{ENV_PREFIX}{field[1].upper()} is no JSON" if field else str(error)) from error
