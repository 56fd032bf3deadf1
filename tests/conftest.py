"""What holds for all tests, and what several of them look at: an inbox, a folder to say commands in."""

import gc
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from darkroom.disk import mounts
from darkroom.spool.record import Stage
from darkroom.testing.world import World
from tests.inbox_box import Box

# Nothing that is being imported and collected is garbage: each worker has a million objects then, which need not be
# looked through a hundred times on the way, nor ever again.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on, what tests leave is looked for."""
    gc.freeze()
    gc.enable()


# How long an example takes tells how busy the machine is, and nothing about the code.
settings.register_profile("darkroom", deadline=None)
settings.load_profile("darkroom")


@pytest.fixture
def quiet() -> Iterator[None]:
    """Hundreds of lives say the same few things."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on memory where there is one: hundreds of lives, each with its fsyncs."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() else tmp_path_factory.getbasetemp()
    path = base / f"darkroom-test-{tmp_path_factory.mktemp('lives').name}-{os.getpid()}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def busy(tmp_path: Path) -> World:
    """The first one renders, the second one is taken, the third one lies in the inbox."""
    world = World(tmp_path, max_priority=5)
    world.holding = True
    world.start()
    for name in ("first", "second", "third"):
        world.drop(f"{name}.json", {"prompt": name})
        world.steps()
    stages = [world.record(name).stage for name in ("first", "second", "third")]
    assert stages == [Stage.RENDERING, Stage.TAKEN, Stage.ACCEPTED]
    return world


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "inbox")


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """An inbox of which the mount table says that it lies on another machine."""
    mount = mounts.Mount(source="nas:/export", kind="nfs4", root="/", mount_point="/")
    monkeypatch.setattr(mounts, "kind_of", lambda path: mount)
    return Box(tmp_path / "inbox")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are said in, with an inbox and an outbox; nothing else is configured."""
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    return tmp_path
