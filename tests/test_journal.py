import io
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from darkroom.log import journal
from darkroom.log import setup as log
from darkroom.log.journal import JournalHandler, entry


def fields_of(data: bytes) -> dict[str, str]:
    """Read an entry as the journal does (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "journal"))
        channel.settimeout(5)
        yield channel


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_every_value_is_a_field_and_a_person_reads_a_sentence() -> None:
    told = fields_of(
        entry({"event": "accepted", "level": "info", "request": "alice/cat", "attempt": 2, "timestamp": "x"})
    )
    assert told == {
        "MESSAGE": "accepted request=alice/cat attempt=2",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "darkroom",
        "DARKROOM_EVENT": "accepted",
        "DARKROOM_REQUEST": "alice/cat",
        "DARKROOM_ATTEMPT": "2",
    }


def test_a_name_with_a_line_break_is_one_value_and_cannot_make_a_field() -> None:
    told = fields_of(entry({"event": "accepted", "level": "warning", "request": "cat\nPRIORITY=0\n"}))
    assert told["DARKROOM_REQUEST"] == "cat\nPRIORITY=0\n"
    assert told["MESSAGE"] == r"accepted request=cat\nPRIORITY=0\n"
    assert told["PRIORITY"] == "4"


def test_an_exception_stands_below_its_sentence() -> None:
    told = fields_of(entry({"event": "broken", "level": "error", "exception": "Traceback\nKeyError"}))
    assert told["MESSAGE"] == "broken\nTraceback\nKeyError"


def test_odd_keys_become_good_names_and_long_values_end_somewhere() -> None:
    told = fields_of(entry({"event": "e", "größe-px": "x" * 100_000}))
    assert told["DARKROOM_GR_SSE_PX"] == "x" * 16_384


def test_what_is_logged_arrives_whatever_library_logs_it(
    listening: socket.socket, root_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open(tmp_path / "stderr", "w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr(journal, "SOCKET", str(tmp_path / "journal"))
        log.set_up(stream=stream)
        structlog.get_logger("darkroom").warning("folder_away", folder="inbox", path=Path("/in\udcff"))
        logging.getLogger("watchdog").error("lost %d events", 3)
        root_logger.handlers[0].close()
    ours, theirs = [fields_of(listening.recv(65_536)) for _ in range(2)]
    assert (ours["DARKROOM_FOLDER"], ours["DARKROOM_PATH"], ours["PRIORITY"]) == ("inbox", r"/in\udcff", "4")
    assert theirs["MESSAGE"].startswith("lost 3 events")
    assert (tmp_path / "stderr").read_text() == ""


def test_a_stream_that_does_not_go_to_the_journal_stays_what_it_is(tmp_path: Path) -> None:
    assert not journal.reads(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
    with open(tmp_path / "stderr", "w") as stream:
        assert not journal.reads(stream, {"JOURNAL_STREAM": "1:2"})
        assert not journal.reads(stream, {})


def test_without_a_journal_the_line_goes_to_stderr(tmp_path: Path) -> None:
    stderr = io.StringIO()
    handler = JournalHandler(address=str(tmp_path / "nobody"), fallback=stderr)
    handler.handle(logging.makeLogRecord({"msg": json.dumps({"event": "accepted", "request": "cat"})}))
    handler.close()
    assert stderr.getvalue() == "accepted request=cat\n"
