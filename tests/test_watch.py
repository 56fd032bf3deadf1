"""File events are a help that may fail in any way: that is told and tried again, and listing goes on."""

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from darkroom.cli import doctor
from darkroom.disk import inotify
from darkroom.inbox import watch
from darkroom.inbox.watch import RETRY_S, Watch
from darkroom.testing.waiting import wait_for


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hints() -> list[str]:
    return []


@pytest.fixture
def watching(tmp_path: Path, clock: Clock, hints: list[str]) -> Iterator[Watch]:
    made = Watch(tmp_path, hints.append, clock, trouble=lambda _: "")
    yield made
    made.stop()


class Broken:
    """An observer that fails at one of its steps."""

    emitters: tuple[Any, ...] = ()
    daemon = False

    def __init__(self, step: str, error: BaseException) -> None:
        self._step, self._error = step, error
        self._fail("made")

    def _fail(self, step: str) -> None:
        if step == self._step:
            raise self._error

    def schedule(self, *_: object, **__: object) -> None:
        self._fail("schedule")

    def start(self) -> None:
        self._fail("start")

    def stop(self) -> None:
        raise RuntimeError("it has not begun")

    def unschedule_all(self) -> None:
        raise RuntimeError("it has not begun")


ERRORS = [
    OSError(errno.EMFILE, "inotify instance limit reached"),
    OSError(errno.ENOSPC, "inotify watch limit reached"),
    RecursionError("maximum recursion depth exceeded"),
    RuntimeError("can't start new thread"),
    AttributeError("no such thing"),
]


@pytest.mark.parametrize("step", ["made", "schedule", "start"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_watch_that_cannot_begin_is_told_once_and_tried_again(
    step: str, error: Exception, watching: Watch, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(watch, "Observer", lambda: Broken(step, error))
        for _ in range(3):
            assert not watching.keep()
            assert not watching.is_alive
            clock.now_s += RETRY_S
    assert [line["event"] for line in logs] == ["polling_only"]
    assert watching.keep()
    assert watching.is_alive


def test_a_nest_of_folders_that_cannot_be_walked_leaves_the_listing(tmp_path: Path, watching: Watch) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1300):
        os.mkdir("a", dir_fd=handle)
        below = os.open("a", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    began = watching.keep()
    assert began == watching.is_alive, "whichever way this version of watchdog walks, nothing is raised"
    watching.stop()
    subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # too deep for whoever tidies up after the tests


def test_a_watch_whose_thread_has_ended_is_told_and_begun_anew(watching: Watch, clock: Clock) -> None:
    assert watching.keep()
    watching._observer.stop()
    watching._observer.join(10.0)
    clock.now_s += RETRY_S
    with capture_logs() as logs:
        assert watching.keep()
    assert [line["event"] for line in logs] == ["polling_only"]
    assert watching.is_alive


def test_a_nest_of_folders_that_comes_while_it_watches_is_told_and_watching_begins_anew_when_it_is_gone(
    tmp_path: Path, watching: Watch, clock: Clock, hints: list[str]
) -> None:
    """Whatever kills the thread in which watchdog reads: it is the only one, for all observers."""
    assert watching.keep()
    with pytest.MonkeyPatch.context() as patched, capture_logs() as logs:
        patched.setattr(threading, "excepthook", lambda _: None)
        patched.setattr(os, "walk", walk_no_more)
        (tmp_path / "deep").mkdir()
        wait_for(lambda: not watching.is_alive, "its death is seen")
        assert not watching.keep()
        clock.now_s += RETRY_S
        assert not watching.keep()
    assert [line["why"].partition(";")[0] for line in logs] == [
        "the thread that watches has ended",
        "the inbox is nested too deep to watch it",
    ]
    clock.now_s += RETRY_S
    assert watching.keep()
    (tmp_path / "cat.json").touch()
    wait_for(lambda: "cat.json" in hints, "an event")
    assert watching.is_alive


def walk_no_more(*_: object, **__: object) -> NoReturn:
    raise RecursionError("maximum recursion depth exceeded")


def test_a_hint_that_fails_ends_no_thread(
    tmp_path: Path, clock: Clock, hints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_first(path: str) -> None:
        hints.append(path)
        if len(hints) == 1:
            raise ValueError(path)

    made = Watch(tmp_path, fail_first, clock, trouble=lambda _: "")
    assert made.keep()
    for name in ("a.json", "b.json"):
        (tmp_path / name).touch()
    wait_for(lambda: "b.json" in hints, "the second event")
    assert made.is_alive
    made.stop()


def test_watches_that_run_out_while_it_watches_are_told_once(tmp_path: Path, clock: Clock) -> None:
    says = [""]
    made = Watch(tmp_path, lambda _: None, clock, trouble=lambda _: says[0])
    with capture_logs() as logs:
        made.keep()
        for says[0] in ("all watches are in use", "all watches are in use", "", "all watches are in use"):
            clock.now_s += RETRY_S
            made.keep()
    made.stop()
    assert [line["event"] for line in logs] == ["events_incomplete", "events_incomplete"]


@pytest.mark.parametrize(
    ("code", "word"), [(errno.EMFILE, "max_user_instances"), (errno.ENOSPC, "max_user_watches"), (errno.EIO, "error")]
)
def test_what_has_run_out_is_named_with_what_to_raise(code: int, word: str) -> None:
    assert word in inotify.words_for(code)


def test_the_kernel_itself_is_asked(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    assert inotify.trouble(tmp_path) == ""
    assert inotify.trouble(tmp_path / "nowhere") == "No such file or directory"
    assert os.listdir("/proc/self/fd") == before


def test_doctor_asks_the_kernel_and_not_its_limits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used_up: Callable[[Path], str] = lambda _: inotify.words_for(errno.EMFILE)  # noqa: E731
    monkeypatch.setattr(inotify, "trouble", used_up)
    (finding,) = doctor._inotify(tmp_path)
    assert finding.verdict is doctor.Verdict.WARN
    assert "max_user_instances" in finding.says
