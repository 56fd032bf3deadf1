"""An inbox to look at, for the tests of its parts."""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.inbox.arrivals import Inbox
from darkroom.inbox.drops import Listing
from darkroom.request.inputs import InputFile
from darkroom.testing.judge import PromptJudge

GOOD = b'{"prompt": "a cat"}'
OTHER = b'{"prompt": "a dog"}'
SETTLE_S, NETWORK_SETTLE_S = 10.0, 60.0


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


class Box:
    """A real inbox folder, a clock that is moved by hand, and what has been made durable in state."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        path.mkdir()
        self.now_s = 1000.0
        self.kept: dict[str, bytes] = {}
        self.kept_inputs: dict[str, dict[str, bytes]] = {}
        self.judge = PromptJudge()
        disk = disk or Disk()
        self.inbox = Inbox(
            Folder(path, None, disk=disk),
            disk=disk,
            settle_s=SETTLE_S,
            network_settle_s=NETWORK_SETTLE_S,
            keep=self._keep,
            keep_input=self._keep_input,
            judge=self.judge,
            clock=lambda: self.now_s,
        )

    def _keep(self, request_id: str, raw: bytes, inputs: Collection[str]) -> None:
        assert set(inputs) <= self.kept_inputs.get(request_id, {}).keys()
        self.kept[request_id] = raw

    def _keep_input(self, request_id: str, name: str, handle: int) -> InputFile:
        raw = b"".join(iter(lambda: os.read(handle, 1 << 20), b""))
        self.kept_inputs.setdefault(request_id, {})[name] = raw
        return InputFile(name, sha256(raw), len(raw))

    def drop(self, name: str, raw: bytes = GOOD) -> Path:
        """Rename a file into place, as a careful client does."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(".dropping")
        hidden.write_bytes(raw)
        return hidden.rename(target)

    def look(self, after_s: float = 1.0) -> Listing:
        """The next listing."""
        self.now_s += after_s
        return self.inbox.look()

    def why_not(self, name: str) -> str:
        """Why a file is not taken, as the last look told it."""
        return dict(self.inbox.glance().not_taken)[name]

    def files(self) -> list[str]:
        """All files but the marker, hidden ones too."""
        found = [each for each in self.path.rglob("*") if not each.is_dir() or each.is_symlink()]
        return sorted(os.fspath(each.relative_to(self.path)) for each in found if ".darkroom" not in each.parts)


def paths(listing: Listing) -> list[str]:
    return [drop.path for drop in listing.drops]


def contents(listing: Listing) -> list[str]:
    """By their digests: bytes do not leave the inbox's thread."""
    return [drop.sha256 for drop in listing.drops]


class Unreadable(Disk):
    """One sub-folder cannot be listed."""

    folder: str | None = None

    @contextmanager
    def anchored(self, root: Path, folder: str) -> Iterator[Path]:
        if folder == self.folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        with super().anchored(root, folder) as place:
            yield place
