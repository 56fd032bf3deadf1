"""A logger that costs nothing before something is said: structlog takes a tenth of a second to import.

For what commands and renderers import, too; most of them say nothing in their life.
"""

from __future__ import annotations

from typing import Any


class Logger:
    """structlog's of this name, made when something is said."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, level: str) -> Any:
        """What says it: `error`, `warning`, `info`."""
        import structlog  # noqa: PLC0415 - see above

        return getattr(structlog.get_logger(self._name), level)
