"""The actor as a Ray cluster would have it, here without one: a renderer process, and what it tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from darkroom.cluster.host import RendererHost, software
from darkroom.cluster.scratch import Scratch
from darkroom.disk.files import Disk
from darkroom.executor.port import (
    Attempt,
    AttemptKey,
    Died,
    Event,
    Failed,
    Finished,
    Load,
    Loaded,
    Painted,
    Ready,
    Render,
)
from darkroom.executor.settings import BridgeSettings, ClusterSettings, RendererSettings
from darkroom.executor.wire import STOP, decode_event, encode
from darkroom.models.source import ModelSource
from darkroom.testing.plans import plan

KEY = AttemptKey("A", 1)
SETTINGS = RendererSettings({"card": ModelSource("card", "testcard")}, model_cache="/nowhere")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RendererHost]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = RendererHost(SETTINGS.as_line())
    made.start()
    yield made
    made.send(STOP, {})
    while not isinstance(told(made)[-1][0], Died):
        pass


def told(host: RendererHost) -> list[tuple[Event, bytes | None]]:
    """The next telling that is not empty."""
    while not (found := host.take()):
        pass
    return [(decode_event(line), data) for line, data in found]


def until(host: RendererHost, kind: type[Event]) -> list[tuple[Event, bytes | None]]:
    found = told(host)
    while not isinstance(found[-1][0], kind):
        found += told(host)
    return found


def render(host: RendererHost, folder: Path, files: dict[str, bytes], **values: Any) -> None:
    attempt = Attempt(
        KEY, plan(model="card", width=64, height=64, num_inference_steps=1, **values), "cat", folder, folder
    )
    host.send(encode(Render(attempt)), files)


def test_pictures_come_back_as_bytes_each_once_and_nothing_stays(host: RendererHost, tmp_path: Path) -> None:
    until(host, Ready)
    host.send(encode(Load("card")), {})
    assert isinstance(until(host, Loaded)[-1][0], Loaded)
    render(host, Path("/no/such/folder"), {"request.json": b"{}", "a.png": b"x"}, num_images=3)
    found = until(host, Finished)
    painted = [(event, data) for event, data in found if isinstance(event, Painted)]
    assert [event.index for event, _ in painted] == [0, 1, 2]
    for event, data in painted:
        assert data is not None
        assert (len(data), hashlib.sha256(data).hexdigest()) == (event.artefact.bytes, event.artefact.sha256)
    assert all(data is None for event, data in found if not isinstance(event, Painted))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_takes_no_files_costs_that_attempt_alone(host: RendererHost) -> None:
    until(host, Ready)
    render(host, Path("/x"), {"x" * 300: b""})
    (failed,) = [event for event, _ in until(host, Failed) if isinstance(event, Failed)]
    assert failed.fault.message.startswith("The request's files could not be written on ")
    assert failed.fault.can_retry
    host.send(encode(Load("card")), {})
    until(host, Loaded)


def test_it_names_its_machine_and_its_software(host: RendererHost) -> None:
    name, there = host.about()
    assert name
    assert there == software()
    assert there["darkroom"]


def test_what_a_killed_actor_left_is_swept_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    living = Scratch(parent, Disk())
    (living.new("x") / "file").write_text("x")
    (parent / "left" / "x").mkdir(parents=True)
    Scratch(parent, Disk())
    assert living.folder.exists()
    assert (living.folder / "x" / "file").exists()
    assert not (parent / "left").exists()


def test_actors_that_begin_together_keep_their_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Scratch(tmp_path / "parent", Disk()), range(40)))
    assert {scratch.folder for scratch in made} == set((tmp_path / "parent").iterdir())


def test_what_a_bridge_is_told_comes_over_whole() -> None:
    settings = BridgeSettings(ClusterSettings("h:1", {"GPU": 0.5}, "/token"), SETTINGS, "gpu1/0", "ab")
    assert BridgeSettings.from_line(settings.as_line()) == settings
