"""What holds for all tests, and the inbox that several of them look at."""

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
