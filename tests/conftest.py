"""What holds for all tests, and what several of them look at: an inbox, a folder to say commands in."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from darkroom.disk import mounts
from tests.inbox_box import Box

# How long an example takes tells how busy the machine is, and nothing about the code.
settings.register_profile("darkroom", deadline=None)
settings.load_profile("darkroom")


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
