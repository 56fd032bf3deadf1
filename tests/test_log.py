import io
import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from darkroom.log import setup as log


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the process's: leave it as it was found."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    yield
    threading.excepthook = hook
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_away_from_a_terminal_each_event_is_one_json_object_a_line() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)
    logger = structlog.get_logger("darkroom.inbox")
    logger.info("accepted", request="alice/cat\n", path=Path("/in"), ahead=3)
    try:
        os.environ["NO_SUCH_VARIABLE"]
    except KeyError:
        logger.exception("broken", request="alice/cat")
    logging.getLogger("watchdog").warning("lost %d events", 3)
    accepted, broken, foreign = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(accepted)[:3] == ["timestamp", "level", "event"]
    assert (accepted["event"], accepted["request"], accepted["path"]) == ("accepted", "alice/cat\n", "/in")
    assert (accepted["logger"], accepted["level"], accepted["timestamp"][-1]) == ("darkroom.inbox", "info", "Z")
    assert broken["exception"].endswith("KeyError: 'NO_SUCH_VARIABLE'")
    assert (foreign["event"], foreign["logger"]) == ("lost 3 events", "watchdog")


def test_on_a_terminal_a_line_is_for_people_and_no_file_name_can_control_it() -> None:
    stream = Terminal()
    log.set_up(stream=stream)
    structlog.get_logger("darkroom.inbox").info("accepted", request="\x1b[2Jcat\n", path=Path("/in"))
    assert r"\x1b[2Jcat\n" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    log.set_up(level="warning", stream=stream)
    structlog.get_logger("darkroom").info("accepted")
    logging.getLogger("other").info("whatever")
    assert stream.getvalue() == ""


def test_the_death_of_a_thread_that_is_a_librarys_is_one_line_of_the_log_with_its_name() -> None:
    stream = io.StringIO()
    log.set_up(form="json", stream=stream)
    thread = threading.Thread(target=lambda: os.environ["NO_SUCH_VARIABLE"], name="a library's")
    thread.start()
    thread.join()
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["thread"], line["level"]) == ("thread_ended", "a library's", "error")
    assert "KeyError: 'NO_SUCH_VARIABLE'" in line["exception"]


def test_warnings_of_libraries_are_logged() -> None:
    stream = io.StringIO()
    log.set_up(form="json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old-fashioned", stacklevel=1)
    assert "old-fashioned" in json.loads(stream.getvalue())["event"]
