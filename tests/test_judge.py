"""Whether a file is a whole picture: sixty odd ones, and the process that decodes them, which may die of one."""

import errno
import os
import queue
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.inbox import decoder
from darkroom.inbox.judge import DecodingJudge, Verdict
from darkroom.request.inputs import MAX_INPUT_BYTES, MAX_INPUT_PIXELS
from darkroom.testing.waiting import wait_for
from tests.pictures_made import BAD, GOOD, PNG, TORN, picture, png


def fault_of(raw: bytes) -> decoder.Fault | None:
    return decoder.fault_of(raw, MAX_INPUT_BYTES, MAX_INPUT_PIXELS)


@pytest.mark.parametrize("what", GOOD)
def test_a_picture_is_whole(what: str) -> None:
    assert fault_of(GOOD[what]) is None


@pytest.mark.parametrize("what", TORN)
def test_what_more_bytes_could_mend_is_open(what: str) -> None:
    raw, said = TORN[what]
    fault = fault_of(raw)
    assert fault is not None
    assert said in fault.message
    assert fault.open


@pytest.mark.parametrize("what", BAD)
def test_what_no_further_byte_can_mend_is_told_with_what_to_do(what: str) -> None:
    raw, said = BAD[what]
    fault = fault_of(raw)
    assert fault is not None
    assert said in fault.message
    assert fault.hint
    assert not fault.open


def test_there_are_sixty_of_them() -> None:
    assert len(GOOD) + len(TORN) + len(BAD) >= 60


def test_a_jpeg_that_is_cut_anywhere_is_not_whole() -> None:
    whole = picture(kind="JPEG", size=(40, 30))
    for at in range(len(whole) - 1):
        fault = fault_of(whole[:at])
        assert fault is not None, at
        assert fault.open, (at, fault)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_others_that_are_cut_anywhere_are_not_whole(kind: str) -> None:
    whole = picture(kind=kind, size=(20, 10))
    for at in range(len(whole) - 1):
        fault = fault_of(whole[:at])
        assert fault is not None, at
        assert fault.open, (at, fault)


def test_one_that_is_too_large_is_told_so() -> None:
    fault = decoder.fault_of(PNG, len(PNG) - 1, MAX_INPUT_PIXELS)
    assert fault is not None
    assert "larger than" in fault.message


# The process ---------------------------------------------------------------------------------------------------------


class Asking:
    """Asks for files, and waits for their verdicts."""

    def __init__(self, folder: Path, script: str = "", patience_s: float = 10.0) -> None:
        self.woken: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.folder = folder
        how = {}
        if script:
            (folder / "script.py").write_text(script)
            how = {"script": folder / "script.py"}
        self.judge = DecodingJudge(
            self.woken.put, lambda broken: pytest.fail(str(broken)), patience_s=patience_s, **how
        )

    def ask(self, raw: bytes, version: int = 1) -> Verdict:
        file = self.folder / f"{version}.png"
        file.write_bytes(raw)
        handle = os.open(file, os.O_RDONLY)
        try:
            found = self.judge.verdict((version,), handle, f"{version}.json")
            if found is None:
                assert self.woken.get(timeout=30.0) == f"{version}.json"
                found = self.judge.verdict((version,), handle, "")
        finally:
            os.close(handle)
        assert found is not None
        return found


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(tmp_path)
    yield asking
    asking.judge.stop()


def test_a_process_of_its_own_decodes_each_version_once(asking: Asking) -> None:
    first = asking.ask(PNG)
    assert (first.fault, first.bytes) == (None, len(PNG))
    assert asking.ask(b"other bytes", version=1) is first
    torn = asking.ask(PNG[:50], version=2)
    assert torn.fault is not None
    assert torn.fault.open
    pid = asking.judge._process.pid if asking.judge._process is not None else 0
    assert asking.ask(PNG, version=3).sha256 == first.sha256
    assert asking.judge._process is not None
    assert asking.judge._process.pid == pid


def test_a_process_that_was_killed_is_begun_again_and_nobody_notices(asking: Asking) -> None:
    asking.ask(PNG)
    assert asking.judge._process is not None
    os.kill(asking.judge._process.pid, signal.SIGKILL)
    asking.judge._process.wait()
    assert asking.ask(picture(5), version=2).fault is None


DIES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
HANGS = "import sys, socket, threading; channel = socket.socket(fileno=int(sys.argv[1])); threading.Event().wait()"
LIES = "import sys, socket; channel = socket.socket(fileno=int(sys.argv[1])); socket.recv_fds(channel, 16, 1); "
LIES += "channel.send(b'[]')"


@pytest.mark.parametrize(("script", "said"), [(DIES, "dies of it"), (HANGS, "takes longer than"), (LIES, "dies of it")])
def test_a_picture_that_the_process_dies_of_costs_itself_alone(script: str, said: str, tmp_path: Path) -> None:
    asking = Asking(tmp_path, script, patience_s=0.5)
    fault = asking.ask(PNG).fault
    assert fault is not None
    assert said in fault.message
    assert not fault.open
    assert asking.judge._process is None
    asking.judge.stop()


def test_where_no_process_can_be_begun_the_file_is_asked_for_again(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", fail)
        (asking.folder / "1.png").write_bytes(PNG)
        with (asking.folder / "1.png").open("rb") as file:
            assert asking.judge.verdict((1,), file.fileno(), "1.json") is None
        wait_for(lambda: not asking.judge._asked, "it has been tried")
    assert asking.woken.empty()
    assert asking.ask(PNG).fault is None


def test_an_error_that_nobody_foresaw_is_raised_for_that_file_and_the_next_one_is_judged(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(DecodingJudge, "_ask", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            asking.ask(PNG)
    assert asking.ask(PNG).fault is None, "it is asked for again"
    assert asking.ask(picture(5), version=2).fault is None


def test_a_file_that_cannot_be_held_open_is_asked_for_again(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", fail)
        with pytest.raises(OSError, match="too many"):
            asking.ask(PNG)
    assert asking.ask(PNG).fault is None


def test_what_is_said_of_a_torn_picture_names_nothing_of_python() -> None:
    for torn in (PNG[:40], b"\x89PNG\r\n\x1a\n" + b"x" * 100):
        fault = decoder.fault_of(torn, len(torn), MAX_INPUT_PIXELS)
        assert fault is not None
        assert "BytesIO" not in fault.message
        assert "0x" not in fault.message


def test_one_that_needs_more_memory_than_there_is_for_it_is_refused(tmp_path: Path) -> None:
    greedy = Path(decoder.__file__).read_text().replace("2 << 30", "160 << 20")
    asking = Asking(tmp_path, greedy)
    large = picture(size=(10, 10))
    assert asking.ask(large).fault is None
    bomb = png(9000, 9000, (b"IDAT", zlib.compress(b"\0" * 1000)))
    fault = asking.ask(bomb, version=2).fault
    assert fault is not None
    assert "memory" in fault.message
    assert asking.ask(picture(3), version=3).fault is None
    asking.judge.stop()
