"""Each of our threads, ended by an unexpected error: heard, told, and the life begins again in place."""

import functools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from darkroom.actor import Broken
from darkroom.disk.files import Disk
from darkroom.executor import local
from darkroom.executor.port import Executor
from darkroom.executor.settings import RendererSettings
from darkroom.gallery.thread import Gallery
from darkroom.http.server import Server
from darkroom.inbox.thread import InboxThread
from darkroom.models.thread import ModelsThread
from darkroom.outbox.thread import Outbox
from darkroom.report.heartbeat import Heartbeat
from darkroom.report.messenger import Messenger
from darkroom.report.textfile import Textfile
from darkroom.service import monitoring, supervise
from darkroom.service.compose import Daemon, Emit
from darkroom.service.loop import Service
from darkroom.testing.painter import Painter
from darkroom.testing.waiting import wait_for
from darkroom.testing.world import World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []

    def note(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        events.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[note], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield events
    structlog.reset_defaults()


def err_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: BaseException, thread: str) -> None:
    """In the thread of that name."""
    erred = threading.Event()
    before = getattr(owner, method)

    @functools.wraps(before)
    def err(*arguments: Any, **keywords: Any) -> Any:
        if not erred.is_set() and threading.current_thread().name == thread:
            erred.set()
            raise error
        return before(*arguments, **keywords)

    monkeypatch.setattr(owner, method, err)


def paint(_settings: RendererSettings, name: str, emit: Emit) -> Executor:
    return Painter(emit, disk=Disk(), name=name)


def serve(world: World, monkeypatch: pytest.MonkeyPatch) -> int:
    """A daemon that is told to stop when a request has been answered."""

    def stop() -> None:
        try:
            wait_for(lambda: (world.answer("cat") or {}).get("state") == "done", "the answer", deadline_s=60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    world.drop("cat.json", {"prompt": "a cat", "num_inference_steps": 2, "width": 64, "height": 64})
    monkeypatch.setattr(supervise, "Daemon", functools.partial(Daemon, make_executor=paint))
    watcher = threading.Thread(target=stop)
    watcher.start()
    status = supervise.main(world.config)
    watcher.join()
    return status


THREADS = [
    ("inbox", InboxThread, "look"),
    ("outbox", Outbox, "check"),
    ("models", ModelsThread, "idle"),
    ("heartbeat state", Heartbeat, "_news"),
    ("heartbeat outbox", Heartbeat, "_news"),
]


@pytest.mark.parametrize(("thread", "owner", "method"), THREADS, ids=lambda value: value if " " in str(value) else "")
@pytest.mark.parametrize("error", [RuntimeError("planted"), MemoryError()], ids=["bug", "no memory"])
def test_a_thread_that_dies_is_heard_and_the_life_begins_again(
    thread: str,
    owner: type,
    method: str,
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: list[dict[str, Any]],
) -> None:
    world = World(tmp_path)
    err_once(monkeypatch, owner, method, error, thread)
    assert serve(world, monkeypatch) == 0
    (ended,) = [each for each in log if each["event"] == "life_ended"]
    assert f"the {thread} thread ended" in ended["why"]
    assert ended["exc_info"].__cause__ is error
    assert json.loads((world.outbox / "cat" / "answer.json").read_bytes())["state"] == "done"


@pytest.mark.parametrize("error", [RuntimeError("planted"), KeyError("x"), MemoryError(), RecursionError()], ids=repr)
def test_an_error_that_is_nobodys_ends_the_life_and_another_one_begins(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    world = World(tmp_path)
    err_once(monkeypatch, Service, "tick", error, threading.current_thread().name)
    assert serve(world, monkeypatch) == 0
    (ended,) = [each for each in log if each["event"] == "life_ended"]
    assert ended["exc_info"] is error


BESIDE = [
    ("gallery", Gallery, "work", "gallery_ended", {"gallery": True}),
    ("notify", Messenger, "_told", "unforeseen_error", {"notify": ["true"]}),
    ("textfile", Textfile, "write", "thread_ended", {"textfile": "numbers.prom"}),
    ("http", Server, "_listen", "http_unavailable", {"http": "127.0.0.1:0"}),
]


@pytest.mark.parametrize(("thread", "owner", "method", "event", "settings"), BESIDE, ids=lambda value: str(value)[:9])
def test_a_thread_that_nobody_waits_for_is_heard_and_costs_no_request(
    thread: str,
    owner: type,
    method: str,
    event: str,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: list[dict[str, Any]],
) -> None:
    if "textfile" in settings:
        settings = {"textfile": str(tmp_path / "numbers.prom")}
    world = World(tmp_path, **settings)
    error = MemoryError() if thread == "gallery" else RuntimeError("planted")
    err_once(monkeypatch, owner, method, error, thread)
    monkeypatch.setattr(monitoring, "FIRST_ANSWERS_S", 0.0)
    assert serve(world, monkeypatch) == 0
    assert [each for each in log if each["event"] == event], f"the death of {thread} is heard"
    assert not [each for each in log if each["event"] == "life_ended"]


def _sleeper(*_: object) -> subprocess.Popen[bytes]:
    """A renderer that only lives."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("method", ["_read", "_write", "_keep_tail"])
def test_the_death_of_a_thread_that_serves_a_renderer_is_heard(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    error = RuntimeError("planted")
    thread = "renderer _live" if method == "_read" else f"renderer {method}"
    monkeypatch.setattr(local, "_spawn", _sleeper)
    err_once(monkeypatch, local._Child, method, error, thread)
    renderer = local.RendererProcess(RendererSettings(), name="cpu", emit=events.append)
    renderer.start(1)
    wait_for(lambda: Broken(thread, error) in events, "the death is heard")
    renderer.kill()
    renderer.stop(1.0)
    wait_for(lambda: renderer.pid is None, "the renderer is gone")
