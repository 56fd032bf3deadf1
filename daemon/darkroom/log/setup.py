"""The log: for people on a terminal, entries with fields in systemd's journal, one JSON object a line elsewhere.

Events have stable names.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from darkroom.log import journal
from darkroom.printable import printable, printable_lines


def set_up(
    *, level: str = "info", form: Literal["auto", "console", "json"] = "auto", stream: TextIO | None = None
) -> None:
    """Send everything that is logged, also through the standard library, to `stream` (stderr)."""
    target = stream or sys.stderr
    is_terminal = target.isatty()
    to_journal = form == "auto" and journal.reads(target)
    as_json = to_journal or form == "json" or (form == "auto" and not is_terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    finish = _json_lines() if as_json else _console_lines(colors=is_terminal)
    handler = journal.JournalHandler(fallback=target) if to_journal else logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=finish))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook = _tell_death
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _tell_death(died: threading.ExceptHookArgs) -> None:
    """Of a thread of a library: ours tell it themselves, to the service."""
    if died.exc_value is not None and not isinstance(died.exc_value, SystemExit):
        name = died.thread.name if died.thread is not None else "unknown"
        why = f"{type(died.exc_value).__name__}: {died.exc_value}"
        structlog.get_logger("darkroom").error("thread_ended", thread=name, why=why, exc_info=died.exc_value)


def _json_lines() -> list[Processor]:
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _order,
        structlog.processors.JSONRenderer(default=str, ensure_ascii=True),
    ]


def _console_lines(*, colors: bool) -> list[Processor]:
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _time_of_day,
        structlog.processors.format_exc_info,
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24, sort_keys=False
        ),
    ]


def _order(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first: a person reads JSON too, now and then."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _time_of_day(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """On a terminal the day is known: hours, minutes and seconds are enough (UTC, as everywhere)."""
    event["timestamp"] = event["timestamp"][11:19] + "Z"
    return event


def _printable(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """File names are other people's: a control sequence in one must not reach the terminal."""
    for key, value in event.items():
        if isinstance(value, str | Path):
            event[key] = (printable_lines if key == "exception" else printable)(str(value))
    return event
