"""A share that fails as a test tells it to: the other end of fault_layer.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.testing.waiting import wait_for
from tests.real.disks import keep_mounts_to_ourselves

PYTHON = "/usr/bin/python3"  # the one that Debian's python3-fusepy is for
LOCAL, NETWORK = "mergerfs", "sshfs"  # whose kind of file system it claims to be
LAYER = Path(__file__).with_name("fault_layer.py")


class FaultyShare:
    """A folder, mounted at `place`; `source` is the same folder behind it, where nothing ever fails."""

    def __init__(self, source: Path, place: Path, rule: Path) -> None:
        self.source, self.place = source, place
        self._rule = rule
        self._hanging = rule.with_suffix(".hangs")

    @classmethod
    @contextmanager
    def mounted(cls, source: Path, place: Path, kind: str = NETWORK) -> Iterator[FaultyShare]:
        """Mount it whole; at the end heal it and unmount it."""
        keep_mounts_to_ourselves()
        source.mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        share = cls(source, place, source.with_name(source.name + ".rule"))
        share.heal()
        server = subprocess.Popen([PYTHON, LAYER, source, place, share._rule, kind])
        try:
            wait_for(lambda: os.path.ismount(place), f"{place} is mounted")
            yield share
        finally:
            share.heal()
            subprocess.run(["umount", "--lazy", place], check=False)
            server.terminate()
            server.wait(10)

    def fail(self, code: int, *ops: str, match: str = "", skip: int = 0, times: int | None = None) -> None:
        """Let these operations (none named: every one) fail from now on."""
        rule = {"ops": ops, "match": match, "skip": skip, "errno": code} | ({"times": times} if times else {})
        self._write(rule)

    def hang(self, *ops: str, match: str = "") -> None:
        """Let these operations (none named: every one) wait from now on."""
        self._hanging.touch()
        self._write({"ops": ops, "match": match, "hang_while": str(self._hanging)})

    def heal(self) -> None:
        """Nothing fails any more, and what waited goes on."""
        self._write({})
        self._hanging.unlink(missing_ok=True)

    @property
    def counted(self) -> int:
        """How many operations the rule has met."""
        count = self._rule.with_name(self._rule.name + ".count")
        return int(count.read_text() or 0) if count.exists() else 0

    def _write(self, rule: dict[str, object]) -> None:
        temporary = self._rule.with_suffix(".new")
        temporary.write_text(json.dumps(rule))
        temporary.rename(self._rule)
