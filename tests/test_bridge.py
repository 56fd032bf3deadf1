"""The bridge between the service and an actor: what is told on, what is saved first, and what ends it."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: THE BRIDGE IS NOT TESTED (pip install 'darkroom[ray]')")

from ray.exceptions import GetTimeoutError, RayActorError

from darkroom.cluster import bridge as module
from darkroom.cluster.bridge import Bridge
from darkroom.cluster.driver import Gone, in_a_line
from darkroom.cluster.host import Told
from darkroom.executor.child import Channel
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Died,
    Event,
    Finished,
    LoadFailed,
    Painted,
    Ready,
    Render,
    Stepped,
)
from darkroom.executor.settings import BridgeSettings, ClusterSettings, RendererSettings
from darkroom.executor.wire import decode_event, encode
from darkroom.facts import Artefact, Progress
from darkroom.testing.plans import plan

#: One white pixel, from a file.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
)
KEY = AttemptKey("A", 2)
PLAN = plan(model="card", width=1, height=1)
HONEST = Painted(
    key=KEY,
    index=0,
    artefact=Artefact("cat-1.png", PLAN.images[0].seed, 1, 1, len(PNG), hashlib.sha256(PNG).hexdigest()),
)


class Planted:
    """An actor whose tellings are given, one for each time that it is asked."""

    def __init__(self, tellings: list[Any]) -> None:
        self._tellings = iter(tellings)
        self.take = SimpleNamespace(remote=lambda: lambda: next(self._tellings))
        self.sent: list[tuple[bytes, dict[str, bytes]]] = []
        remote = SimpleNamespace(remote=lambda line, files: self.sent.append((line, files)))
        self.send = SimpleNamespace(options=lambda **_: remote)


class Life:
    """A bridge over a planted actor, and what the service would hear."""

    def __init__(self, folder: Path, tellings: list[Any]) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            self._lines = ours.makefile("rb")
        self.work = folder / "work"
        self.work.mkdir()
        settings = BridgeSettings(ClusterSettings("h:1"), RendererSettings(), "one/0")
        self.bridge = Bridge(settings, Channel(theirs))
        self.actor = self.bridge._actor = Planted(tellings)
        self.inputs = folder / "inputs"
        self.render = Render(Attempt(KEY, PLAN, "cat", self.inputs, self.work))
        self._theirs = theirs

    def run(self) -> str:
        """Until it is gone; why."""
        self.bridge._returned.expect(self.render.attempt)
        with pytest.raises(Gone) as gone:
            self.bridge.run()
        self._theirs.close()
        return str(gone.value)

    def heard(self) -> list[Event]:
        return [decode_event(line) for line in self._lines]

    def close(self) -> None:
        self._lines.close()
        self._theirs.close()


def ask(ref: Callable[[], Any], timeout: float) -> Any:
    """What stands for `ray.get`."""
    assert timeout > 0
    found = ref()
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Life]]:
    monkeypatch.setattr(module, "ray", SimpleNamespace(get=ask))
    lives: list[Life] = []

    def begin(*tellings: Any) -> Life:
        lives.append(Life(tmp_path, [*tellings, GetTimeoutError()]))
        return lives[-1]

    yield begin
    for life in lives:
        life.close()


def telling(*events: Event, data: bytes | None = None) -> list[Told]:
    return [(encode(event), data if isinstance(event, Painted) else None) for event in events]


def test_a_picture_is_a_durable_file_before_it_is_told(live: Callable[..., Life]) -> None:
    life = live(telling(HONEST, data=PNG), telling(Finished(key=KEY, encode_s=0.0)))
    assert life.run() == "on one/0 gave no sign of life for 8 s"
    assert [type(event) for event in life.heard()] == [Painted, Finished]
    assert (life.work / "cat-1.png").read_bytes() == PNG


@pytest.mark.parametrize("data", [None, b"", PNG[:-1], PNG + b"x", PNG[:-1] + b"x"])
def test_wrong_bytes_end_it_and_nothing_is_saved_or_told(live: Callable[..., Life], data: bytes | None) -> None:
    life = live(telling(HONEST, data=data))
    assert life.run().startswith("on one/0 sent ")
    assert life.heard() == []
    assert list(life.work.iterdir()) == []


def test_what_is_about_another_attempt_is_dropped(live: Callable[..., Life]) -> None:
    earlier = Stepped(key=AttemptKey("A", 1), progress=Progress(1, 1, 1, 1))
    life = live(telling(earlier, Painted(key=earlier.key, index=0, artefact=HONEST.artefact), data=PNG))
    life.run()
    assert life.heard() == []
    assert list(life.work.iterdir()) == []


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"kind": "Stop"}', b'{"kind": "Load", "model": "x"}'])
def test_what_is_no_event_ends_it(live: Callable[..., Life], line: bytes) -> None:
    assert live([(line, None)]).run().startswith("on one/0 sent what is no message")


def test_a_message_without_end_ends_it(live: Callable[..., Life]) -> None:
    assert live([(b" " * (2 << 20), None)]).run() == "on one/0 sent a message of 2097152 bytes"


def test_the_death_of_its_renderer_is_told_in_its_words(
    live: Callable[..., Life], capsys: pytest.CaptureFixture[str]
) -> None:
    life = live(telling(Died(why="was killed by SIGKILL", tail=("out of memory",))))
    assert life.run() == "on one/0 was killed by SIGKILL"
    assert capsys.readouterr().out == "out of memory\n"


def test_an_actor_that_is_gone_is_told_at_once(live: Callable[..., Life]) -> None:
    assert live(RayActorError()).run().startswith("on one/0 is gone: ")


def test_what_is_missing_on_one_machine_holds_the_model_there_alone(live: Callable[..., Life]) -> None:
    life = live(telling(LoadFailed(model="card", message="no")))
    life.run()
    assert life.heard() == [LoadFailed(model="card", message="no", only_here=True)]


def test_it_says_where_it_renders(live: Callable[..., Life]) -> None:
    life = live(telling(Ready(device="cuda:0", title="GPU")))
    life.bridge._host = "gpu1"
    life.run()
    (ready,) = life.heard()
    assert isinstance(ready, Ready)
    assert (ready.host, ready.device) == ("gpu1", "cuda:0")


def test_the_files_of_a_request_go_with_it_and_most_have_none(
    live: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.cluster.bridge.os._exit", lambda _: None)  # the service is gone
    life = live()
    named = replace(life.render, attempt=replace(life.render.attempt, plan=replace(PLAN, init_image="a.png")))
    life.bridge.listen([encode(life.render)])  # type: ignore[arg-type]
    life.inputs.mkdir()
    (life.inputs / "a.png").write_bytes(b"a picture")
    life.bridge.listen([encode(named)])  # type: ignore[arg-type]
    assert [json.loads(line)["kind"] for line, _ in life.actor.sent] == ["Render", "Render"]
    assert [files for _, files in life.actor.sent] == [{}, {"a.png": b"a picture"}]


def test_a_request_that_names_no_files_has_no_folder_of_them(
    live: Callable[..., Life], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("darkroom.cluster.bridge.os._exit", lambda _: None)
    life = live()
    render = Render(replace(life.render.attempt, inputs=tmp_path / "none"))
    life.bridge.listen([encode(render)])  # type: ignore[arg-type]
    ((_, files),) = life.actor.sent
    assert files == {}


def test_pages_of_an_error_become_a_line() -> None:
    assert in_a_line(ValueError("first\nsecond")) == "first"
    pages = "\x1b[36mray::X\x1b[39m\n  File 'x', line 1\nModuleNotFoundError: No module named 'darkroom'\n"
    assert in_a_line(RuntimeError(pages)) == "ModuleNotFoundError: No module named 'darkroom'"
    assert in_a_line(RuntimeError()) == "RuntimeError"
