import io
import logging
import socket
from pathlib import Path

import pytest
import structlog

from darkroom.cli import terminal
from darkroom.log import setup as log
from darkroom.printable import printable, printable_lines
from darkroom.systemd.notify import Notifier


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("schöner Bär, 熊\u3000猫", "schöner Bär, 熊\u3000猫"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("cat\u202egnp.exe", r"cat\u202egnp.exe"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\ud800 and \x9b", r"\ud800 and \x9b"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("a\u200db", r"a\u200db"),
    ],
)
def test_what_a_person_could_not_see_is_written_out_and_nothing_else_is(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_several_lines_stay_several_lines() -> None:
    assert printable_lines("a\n\tb \x1b\r") == "a\n\tb \\x1b\\r"


def test_whatever_the_command_prints_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.out().print("name: \x1b[2J\u202e", style="bold")
    terminal.err().print("why: \x9b1m")
    said = "".join(capsys.readouterr())
    assert r"name: \x1b[2J\u202e" in said
    assert r"why: \x9b1m" in said
    assert {"\x1b", "\u202e", "\x9b"} & set(said) == set()


def test_what_systemd_shows_is_harmless(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).status("the Darkroom on \x1b[31mnas\ud800\nREADY=1")
        assert manager.recv(4096).decode() == "STATUS=the Darkroom on \\x1b[31mnas\\ud800 READY=1"


def test_an_error_s_own_words_cannot_control_the_terminal_of_who_reads_the_log() -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        log.set_up(form="console", stream=stream)
        try:
            raise ValueError("\x1b[31mred")  # noqa: TRY301 - a traceback is what is wanted
        except ValueError:
            structlog.get_logger("x").exception("oops")
    finally:
        logging.getLogger().handlers[:] = before
    assert r"ValueError: \x1b[31mred" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
